"""What a curator decided, one correction a VOI in an errata overlay."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from uls_data.errata import Correction, ErrataError, Kind, Overlay, load_overlay
from uls_data.errata.evidence import NOTED, REJECTED, evidence_of, verdict_of
from uls_data.errata.overlay import MAXIMUM_BYTES, MAXIMUM_CORRECTIONS, wrong_field
from uls_data.io import write_bytes
from uls_data.io.shared import SharedFile
from uls_data.triage.steps import Key, Steps
from uls_data.yaml_text import YamlError, load_yaml

TITLE = "Verdicts of triage"
# libyaml's emitter takes a quarter of the time.
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


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
    reason : str
        Of a verdict's key, such as `leak`; empty where the verdict was given without one.
    """

    word: str
    note: str
    subject: Subject
    reason: str = ""

    def correction(self, author: str) -> Correction:
        """Return what it is in an overlay: `drop` where rejected, else `note`.

        Raises
        ------
        ErrataError
            The note is not a line that an overlay can hold.
        """
        drop = self.word == REJECTED
        seen = self.subject
        said = ": ".join(words for words in (self.reason, self.note) if words)
        try:
            return Correction(
                kind=Kind.DROP if drop else Kind.NOTE,
                source=seen.source,
                voi_id=seen.voi_id,
                layer=seen.layer,
                reason=said or self.word,
                evidence=evidence_of(self.word, self.reason),
                author=author,
                date=datetime.datetime.now(datetime.UTC).date(),
                before=seen.sha256 or "",
                after=None if drop else seen.sha256,
            )
        except ValidationError as error:
            raise ErrataError(wrong_field(error)) from error

    @classmethod
    def of(cls, correction: Correction) -> Verdict | None:
        """Verdict that a correction states; None where it is not one of triage."""
        found = verdict_of(correction.evidence)
        if found is None:
            return None
        word, reason = found
        if (correction.kind is Kind.DROP) != (word == REJECTED):
            return None
        c = correction
        note = "" if c.reason == (reason or word) else c.reason
        if reason:
            note = note.removeprefix(f"{reason}: ")
        return cls(word, note, Subject(c.source, c.voi_id, c.layer, c.before), reason)


@dataclass(frozen=True)
class _Entry:
    """One correction as it is in the file, with the comments behind it."""

    text: str
    key: Key
    verdict: Verdict | None


# By VOI; None takes its verdict away.
_Changes = dict[Key, _Entry | None]


class Verdicts:
    """The verdicts of an overlay, each written before the call that gives it returns.

    A VOI has one verdict: a newer one replaces it, at the end of the file. What people wrote into
    the overlay by hand stays. `errata.append` reads and checks the whole overlay for each
    correction; here its text is kept, so that the thousandth verdict is as fast as the first.
    A kill at any instant leaves the old file or the new one. Steps that can be taken back are kept
    beside it, so that a crash forgets none. Not safe for several threads.

    Parameters
    ----------
    path : Path
        Overlay; made at the first verdict if it is not there.
    author : str
        Name or handle that signs.

    Attributes
    ----------
    readings : int
        How often the file was read; it grows when another process changed it.

    Raises
    ------
    ErrataError
        The file is not an overlay, its name cannot be an overlay's, or the author's cannot sign.
    """

    def __init__(self, path: Path, author: str) -> None:
        self.path, self.author = path, author
        self.readings = 0
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
        self._steps = Steps(path.with_name(f"{path.stem}-steps.jsonl"))
        # After a crash, what was decided before it can still be taken back.
        self._steps.recall({e.key: e.text for e in self._entries if e.verdict is not None})

    def of(self, key: Key) -> Verdict | None:
        """Verdict of a VOI, if there is one."""
        return next((v for v in self._verdicts() if v.subject.key == key), None)

    def all(self) -> dict[Key, Verdict]:
        """All verdicts by VOI."""
        return {verdict.subject.key: verdict for verdict in self._verdicts()}

    def give(
        self, subject: Subject, word: str | None, note: str | None = None, reason: str = ""
    ) -> None:
        """Decide on a VOI, see `give_all`."""
        self.give_all([subject], word, note, reason)

    def give_all(
        self,
        subjects: Iterable[Subject],
        word: str | None,
        note: str | None = None,
        reason: str = "",
    ) -> dict[Key, str]:
        """Decide on VOIs: one write, and one step to take back.

        Parameters
        ----------
        word : str or None
            None keeps word and reason that there are, or is `noted`.
        note : str, optional
            One line; None keeps what was noted before.
        reason : str
            Of the verdict's key.

        Returns
        -------
        dict of Key to str
            VOIs that could not be judged, and why; the others are.

        Raises
        ------
        ErrataError
            Not one line, nothing said, none of the VOIs can be judged, or the overlay is full or
            cannot be written.
        """
        wanted = {subject.key: subject for subject in subjects}
        refused: dict[Key, str] = {}

        def decide(before: Mapping[Key, Verdict], by_hand: Collection[Key]) -> _Changes:
            made: _Changes = {}
            for key, subject in wanted.items():
                old = before.get(key)
                said = old.note if note is None and old else note or ""
                meant = word or (old.word if old else NOTED)
                why = reason if word else (old.reason if old else "")
                if meant == NOTED and not (said.strip() or why):
                    raise ErrataError("an empty note says nothing")
                verdict = Verdict(meant, said.strip(), subject, why)
                if key in by_hand:
                    refused[key] = self._by_hand
                    continue
                try:
                    made[key] = self._entry(verdict)
                except ErrataError as error:
                    refused[key] = str(error)
            if not made:
                raise ErrataError(next(iter(refused.values()), "no VOI is named"))
            return made

        self._write(wanted, decide)
        return refused

    def clear(self, keys: Iterable[Key]) -> dict[Key, str]:
        """Remove the verdicts of VOIs, in one step; returns and raises as `give_all`.

        VOIs without a verdict stay as they are.
        """
        refused: dict[Key, str] = {}

        def decide(before: Mapping[Key, Verdict], by_hand: Collection[Key]) -> _Changes:
            refused.update(dict.fromkeys(by_hand, self._by_hand))
            made: _Changes = {key: None for key in before if key not in by_hand}
            if refused and not made:
                raise ErrataError(self._by_hand)
            return made

        self._write(set(keys), decide)
        return refused

    def undo(self) -> list[Key]:
        """Take back the last step; raises as `give_all`.

        Returns
        -------
        list of Key
            VOIs that it was about; none where no step is left.
        """
        if not self._steps:
            return []
        before = self._steps.last.before

        def decide(_: Mapping[Key, Verdict], by_hand: Collection[Key]) -> _Changes:
            if by_hand:
                raise ErrataError(self._by_hand)
            return {
                key: None if text is None else self._entry_of(text) for key, text in before.items()
            }

        self._write(before, decide, undoes=True)
        return [*before]

    def _entry(self, verdict: Verdict) -> _Entry:
        return _Entry(_dumped(verdict.correction(self.author)), verdict.subject.key, verdict)

    def _entry_of(self, text: str) -> _Entry:
        """Entry as it was in the overlay before a step."""
        try:
            (content,) = load_yaml(text.encode(), str(self.path), MAXIMUM_BYTES)
            correction = Correction.model_validate(content)
        except (YamlError, ValueError, TypeError) as error:
            raise ErrataError(f"{self.path}: the last step cannot be taken back") from error
        return _Entry(text, (correction.source, correction.voi_id), Verdict.of(correction))

    @property
    def _by_hand(self) -> str:
        return f"{self.path.name} has other corrections of this VOI; edit it there"

    def _verdicts(self) -> Iterator[Verdict]:
        return (entry.verdict for entry in self._entries if entry.verdict is not None)

    def _write(
        self,
        keys: Collection[Key],
        decide: Callable[[Mapping[Key, Verdict], Collection[Key]], _Changes],
        *,
        undoes: bool = False,
    ) -> None:
        """Replace verdicts of VOIs by what is decided: a step, or one that `undoes` the last.

        To decide, the verdicts that there are and the VOIs with corrections by hand are told.
        """
        try:
            with self._file.replacing():
                held = {e.key: e for e in self._entries if e.verdict is not None and e.key in keys}
                by_hand = {e.key for e in self._entries if e.verdict is None and e.key in keys}
                told = {key: e.verdict for key, e in held.items() if e.verdict is not None}
                made = decide(told, by_hand)
                if not made:
                    return
                kept = [e for e in self._entries if e.verdict is None or e.key not in made]
                entries = [*kept, *(entry for entry in made.values() if entry is not None)]
                data = self._checked(entries)
                if undoes:
                    write_bytes(self.path, data)
                    self._steps.undone()
                else:
                    before = {key: held[key].text if key in held else None for key in made}
                    after = {key: None if new is None else new.text for key, new in made.items()}
                    with self._steps.adding(before, after):
                        write_bytes(self.path, data)
                self._entries = entries
        except OSError as error:
            raise ErrataError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _checked(self, entries: list[_Entry]) -> bytes:
        data = (self._head + _list(entries)).encode()
        if len(entries) > MAXIMUM_CORRECTIONS or len(data) > MAXIMUM_BYTES:
            raise ErrataError(f"{self.path} is full: continue in another file with --overlay")
        return data

    def _take(self) -> None:
        self.readings += 1
        if not self.path.exists():
            self._entries = []
            return
        overlay = load_overlay(self.path)
        head, texts = _split(self.path.read_text(encoding="utf-8"))
        if texts is None or len(texts) != len(overlay.corrections):
            # Written in another style than ours: written again, without its comments.
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
    text: str = yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
