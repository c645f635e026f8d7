"""What a curator decided, one correction a VOI in an errata overlay."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from uls_data.errata import Correction, ErrataError, Kind, Overlay, load_overlay
from uls_data.errata.overlay import MAXIMUM_BYTES, MAXIMUM_CORRECTIONS
from uls_data.io import write_bytes
from uls_data.io.shared import SharedFile

ACCEPTED, REJECTED, NOTED = "accepted", "rejected", "noted"
WORDS = (ACCEPTED, REJECTED, NOTED)
TITLE = "Verdicts of triage"
# By its evidence a verdict is told from what people wrote into the overlay by hand.
_EVIDENCE = {f"seen in triage: {word}": word for word in WORDS}
Key = tuple[str, str]


@dataclass(frozen=True)
class Subject:
    """A mask that can be judged.

    Attributes
    ----------
    source, voi_id, layer : str
    sha256 : str or None
        `label_voxels_sha256` of the mask; None where the manifest does not tell it.
    """

    source: str
    voi_id: str
    layer: str
    sha256: str | None

    @property
    def key(self) -> Key:
        """What a verdict is about: a VOI has one, whatever layers it has."""
        return self.source, self.voi_id


@dataclass(frozen=True)
class Verdict:
    """A decision.

    Attributes
    ----------
    word : str
        `accepted`, `rejected` or `noted`.
    note : str
        One line; empty where nothing was said.
    subject : Subject
    """

    word: str
    note: str
    subject: Subject

    def correction(self, author: str) -> Correction:
        """Return what it is in an overlay: `drop` where rejected, else `note`.

        Raises
        ------
        ErrataError
            The note is no line that an overlay can hold.
        """
        drop = self.word == REJECTED
        seen = self.subject
        try:
            return Correction(
                kind=Kind.DROP if drop else Kind.NOTE,
                source=seen.source,
                voi_id=seen.voi_id,
                layer=seen.layer,
                reason=self.note or self.word,
                evidence=f"seen in triage: {self.word}",
                author=author,
                date=datetime.datetime.now(datetime.UTC).date(),
                before=seen.sha256 or "",
                after=None if drop else seen.sha256,
            )
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ErrataError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error

    @classmethod
    def of(cls, correction: Correction) -> Verdict | None:
        """Verdict that a correction states; None where it is not one of triage."""
        word = _EVIDENCE.get(correction.evidence)
        if word is None or (correction.kind is Kind.DROP) != (word == REJECTED):
            return None
        c = correction
        note = "" if c.reason == word else c.reason
        return cls(word, note, Subject(c.source, c.voi_id, c.layer, c.before))


@dataclass(frozen=True)
class _Entry:
    """One correction as it stands in the file, with the comments behind it."""

    text: str
    key: Key
    verdict: Verdict | None


class Verdicts:
    """The verdicts of an overlay, each written before the call that gives it returns.

    A VOI has one verdict: a newer one replaces it, at the end of the file. What people wrote into
    the overlay by hand stays. `errata.append` reads and checks the whole overlay for each
    correction; here its text is kept, so that the thousandth verdict is as fast as the first.
    A kill at any instant leaves the old file or the new one. Not safe for several threads.

    Parameters
    ----------
    path : Path
        Overlay; made at the first verdict if it is not there.
    author : str
        Name or handle that signs.

    Raises
    ------
    ErrataError
        The file is no overlay, its name cannot be an overlay's, or the author's cannot sign.
    """

    def __init__(self, path: Path, author: str) -> None:
        self.path, self.author = path, author
        self._head = f"overlay_version: 1\nname: {path.stem}\ntitle: {TITLE}\n"
        self._entries: list[_Entry] = []
        self._file = SharedFile(path, self._take)
        Verdict(NOTED, "", Subject("s", "v", "annotated", "0" * 64)).correction(author)
        try:
            Overlay(name=path.stem, title=TITLE)
        except ValidationError as error:
            raise ErrataError(
                f"{path}: an overlay's name begins with a small letter or a digit and has only "
                "those and _ . - in it"
            ) from error
        self._file.read()
        # After a crash, what was decided before it can still be taken back.
        self._done: list[tuple[Key, Verdict | None]] = [
            (entry.key, None) for entry in self._entries if entry.verdict is not None
        ]

    def of(self, key: Key) -> Verdict | None:
        """Verdict of a VOI, if there is one."""
        return next((v for v in self._verdicts() if v.subject.key == key), None)

    def all(self) -> dict[Key, Verdict]:
        """All verdicts by VOI."""
        return {verdict.subject.key: verdict for verdict in self._verdicts()}

    def counts(self) -> Counter[str]:
        """How many of each word."""
        return Counter(verdict.word for verdict in self._verdicts())

    def give(self, subject: Subject, word: str | None, note: str | None = None) -> None:
        """Decide on a VOI.

        Parameters
        ----------
        word : str or None
            None keeps the word that there is, or is `noted`.
        note : str, optional
            One line; None keeps what was noted before.

        Raises
        ------
        ErrataError
            Not one line, nothing said, the VOI has corrections of other kinds in this overlay, or
            the overlay is full or cannot be written.
        """

        def decide(before: Verdict | None) -> Verdict:
            said = before.note if note is None and before else note or ""
            meant = word or (before.word if before else NOTED)
            if meant == NOTED and not said.strip():
                raise ErrataError("an empty note says nothing")
            return Verdict(meant, said.strip(), subject)

        self._done.append((subject.key, self._write(subject.key, decide)))

    def clear(self, key: Key) -> None:
        """Take away the verdict of a VOI."""
        before = self._write(key, lambda _: None)
        if before is not None:
            self._done.append((key, before))

    def undo(self) -> Key | None:
        """Take back the last change; returns the VOI that it was about, None where none is left."""
        if not self._done:
            return None
        key, before = self._done[-1]
        self._write(key, lambda _: before)
        self._done.pop()
        return key

    def _verdicts(self) -> Iterator[Verdict]:
        return (entry.verdict for entry in self._entries if entry.verdict is not None)

    def _write(
        self, key: Key, decide: Callable[[Verdict | None], Verdict | None]
    ) -> Verdict | None:
        """Replace the verdict of a VOI by what is decided on it; returns the one before."""
        try:
            with self._file.replacing():
                before = self.of(key)
                self._replace(key, decide(before))
                return before
        except OSError as error:
            raise ErrataError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _replace(self, key: Key, verdict: Verdict | None) -> None:
        if any(entry.key == key and entry.verdict is None for entry in self._entries):
            raise ErrataError(f"{self.path.name} has other corrections of this VOI; edit it there")
        kept = [entry for entry in self._entries if entry.key != key]
        if verdict is not None:
            text = _dumped(verdict.correction(self.author))
            kept.append(_Entry(text, key, verdict))
        data = (self._head + _list(kept)).encode()
        if len(kept) > MAXIMUM_CORRECTIONS or len(data) > MAXIMUM_BYTES:
            raise ErrataError(f"{self.path} is full: go on in another file with --overlay")
        write_bytes(self.path, data)
        self._entries = kept

    def _take(self) -> None:
        if not self.path.exists():
            self._entries = []
            return
        overlay = load_overlay(self.path)
        head, texts = _split(self.path.read_text(encoding="utf-8"))
        if texts is None or len(texts) != len(overlay.corrections):
            # Written in another style than ours: said anew, without its comments.
            head = _yaml(overlay.model_dump(mode="json", exclude={"corrections"}))
            texts = [_dumped(correction) for correction in overlay.corrections]
        self._head = head
        self._entries = [
            _Entry(text, (c.source, c.voi_id), Verdict.of(c))
            for text, c in zip(texts, overlay.corrections, strict=True)
        ]


def _split(text: str) -> tuple[str, list[str] | None]:
    """Part an overlay in our style before each correction; None where it has another style."""
    head: list[str] = []
    texts: list[str] | None = None
    for line in text.rstrip("\n").split("\n"):
        if texts is None:
            if line.rstrip() in ("corrections:", "corrections: []"):
                texts = []
            else:
                head.append(line + "\n")
        elif line.startswith("- "):
            texts.append(line + "\n")
        elif texts and (not line or line.startswith((" ", "#"))):
            texts[-1] += line + "\n"
        else:
            return "", None
    return "".join(head), texts or []


def _list(entries: list[_Entry]) -> str:
    return "corrections:\n" + "".join(entry.text for entry in entries) if entries else ""


def _dumped(correction: Correction) -> str:
    return _yaml([correction.model_dump(mode="json", exclude_none=True)])


def _yaml(content: object) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text
