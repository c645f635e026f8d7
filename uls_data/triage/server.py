"""What the server of VOIs shows, and the verdicts that it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from uls_data.errata import ErrataError
from uls_data.manifest.schema import column_names
from uls_data.triage.guarded import (
    COMMON,
    HTML,
    SCRIPT,
    GuardedHandler,
    GuardedServer,
    RefusalError,
)
from uls_data.triage.listing import read_list
from uls_data.triage.outline import PLANES
from uls_data.triage.verdicts import ACCEPTED, NOTED, REJECTED, Subject, Verdict, Verdicts
from uls_data.triage.vois import WINDOWS_HU, Lesions
from uls_data.voi import VOI_SHAPE

_PAGES = {
    "/": ("triage.html", HTML),
    "/triage.js": ("triage.js", SCRIPT),
    **COMMON,
}
_STATES = {ACCEPTED: "a", REJECTED: "r", NOTED: "n"}
_UNDECIDED, _STALE = ".", "s"


class TriageServer(GuardedServer):
    """Serves the VOIs of a build and takes verdicts.

    Attributes
    ----------
    address : str
        To open in a browser, with the token.
    lesions : Lesions
    verdicts : Verdicts
    """

    def __init__(self, lesions: Lesions, verdicts: Verdicts, port: int = 0) -> None:
        self.lesions, self.verdicts = lesions, verdicts
        super().__init__(_Handler, port)

    def counts(self) -> Counter[str]:
        """How many of the VOIs shown are accepted, rejected and noted."""
        states = Counter(self.states())
        return Counter({word: states[letter] for word, letter in _STATES.items()})

    def states(self) -> str:
        """One letter for each VOI."""
        with self.lock:
            verdicts = self.verdicts.all()
        letters = bytearray(_UNDECIDED.encode() * len(self.lesions))
        for key, number in self.lesions.numbers(verdicts).items():
            letters[number] = ord(_letter(verdicts[key], self.lesions.subject(number)))
        return letters.decode()

    def session(self) -> dict[str, Any]:
        """Return what the page asks for first."""
        return {
            "run": self.run,
            "states": self.states(),
            "shape": VOI_SHAPE,
            "planes": PLANES,
            "windows_hu": WINDOWS_HU,
            "overlay": str(self.verdicts.path),
            "author": self.verdicts.author,
        }

    def voi(self, number: int) -> dict[str, Any]:
        """One VOI, with its verdict."""
        voi = self.lesions.voi(number)
        subject = self.lesions.subject(number)
        with self.lock:
            verdict = self.verdicts.of(subject.key)
        told = {"state": _letter(verdict, subject), "note": verdict.note if verdict else ""}
        return {"number": number, "verdict": told, **voi.shown()}

    def judge(self, number: int, word: str | None, note: str | None) -> None:
        """Take a verdict; word `none` takes it away."""
        if word == "none":
            with self.lock:
                self.verdicts.clear(self.lesions.subject(number).key)
            return
        voi = self.lesions.voi(number)
        subject = voi.subject
        if subject is None:
            raise ErrataError(f"no verdict: {' '.join(voi.problems)}")
        with self.lock:
            self.verdicts.give(subject, word, note)

    def undo(self) -> int | None:
        """Take back the last verdict; returns the VOI's number, None where nothing is left."""
        with self.lock:
            key = self.verdicts.undo()
        if key is None:
            raise ErrataError("nothing to undo")
        return self.lesions.numbers([key]).get(key)


def _letter(verdict: Verdict | None, subject: Subject) -> str:
    if verdict is None:
        return _UNDECIDED
    return _STATES[verdict.word] if verdict.subject == subject else _STALE


class _Handler(GuardedHandler):
    pages = _PAGES
    server: TriageServer

    def answer(self, path: str, asked: Mapping[str, str]) -> None:
        match path.split("/"):
            case ["", "api", "session"]:
                self.send_json(self.server.session())
            case ["", "api", "order", column] if column in column_names():
                descending = asked.get("descending") == "1"
                self.send_json(self.server.lesions.order(column, descending=descending))
            case ["", "api", "columns"]:
                self.send_json(self.server.lesions.columns())
            case ["", "api", "names"]:
                self.send_json(self.server.lesions.named(asked.get("voi_id", "")))
            case ["", "api", "vois", number]:
                self.send_json(self.server.voi(self._number(number)))
            case ["", "slices", run, number, axis, index, window] if run == self.server.run:
                self._slice(self._number(number), axis, index, window)
            case _:
                raise RefusalError(HTTPStatus.NOT_FOUND, "no such page")

    def _slice(self, number: int, axis: str, index: str, window: str) -> None:
        if axis not in ("0", "1", "2") or window not in WINDOWS_HU:
            raise RefusalError(HTTPStatus.NOT_FOUND, "no such slice")
        at = self.below(index, VOI_SHAPE[int(axis)])
        png = self.server.lesions.voi(number).png(int(axis), at, window)
        if png is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, "no image")
        self.send_content(png, "image/png", "private, max-age=3600, immutable")

    def take(self, path: str, body: dict[str, Any]) -> None:
        if path == "/api/undo":
            self.send_json({"number": self.server.undo(), "states": self.server.states()})
        elif path == "/api/verdicts":
            number, word, note = (body.get(name) for name in ("number", "word", "note"))
            known = (None, "none", *_STATES)
            if (
                type(number) is not int
                or not 0 <= number < len(self.server.lesions)
                or word not in known
                or not isinstance(note, str | None)
            ):
                raise RefusalError(HTTPStatus.BAD_REQUEST, "no verdict on a VOI shown here")
            self.server.judge(number, word, note)
            self.send_json({"number": number, "states": self.server.states()})
        else:
            raise RefusalError(HTTPStatus.NOT_FOUND, "no such page")

    def _number(self, text: str) -> int:
        return self.below(text, len(self.server.lesions))


def triage_server(
    out: str | Path,
    where: str = "",
    *,
    sort: str | None = None,
    listed: str | Path | None = None,
    port: int = 0,
    overlay: str | Path | None = None,
    author: str = "curator",
) -> TriageServer:
    """Make a server that shows VOIs one by one and takes verdicts.

    It listens on 127.0.0.1 alone, and answers only those who know its token. Call `serve_forever`
    on it, and `server_close` in the end; it is a context manager.

    Parameters
    ----------
    out : path
        OUT folder of a build or archive, or one manifest of it.
    where : str
        As `query` takes it; of the layers that meet it the first one of a VOI is judged.
    sort : str, optional
        Manifest column; the smallest values come first.
    listed : path, optional
        CSV table: only its VOIs, in its order, see `read_list`.
    port : int
        0 takes a free one.
    overlay : path, optional
        Errata overlay for the verdicts; default: `errata/triage.yaml` below `out`.
    author : str
        Name or handle that signs; no address.

    Raises
    ------
    ManifestError
        Not a manifest or a list, or no mask meets the expression and the list.
    ErrataError
        The overlay is none, or the author cannot sign.
    SourceError
        The port is taken.
    """
    entries = None if listed is None else read_list(Path(listed))
    lesions = Lesions(Path(out), where, sort, entries)
    path = Path(overlay) if overlay is not None else lesions.root / "errata" / "triage.yaml"
    verdicts = Verdicts(path, author)
    return TriageServer(lesions, verdicts, port)
