"""What the server of VOIs shows, and the verdicts that it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, ClassVar

from uls_data.errata import ErrataError
from uls_data.errata.edits import FILE as EDITS
from uls_data.errata.evidence import NOTED
from uls_data.errors import ManifestError
from uls_data.manifest.query import unknown_words
from uls_data.manifest.schema import column_names
from uls_data.triage.editing import EDIT_PAGES, LONGEST_EDIT, Editor
from uls_data.triage.guarded import (
    COMMON,
    CSS,
    HTML,
    SCRIPT,
    GuardedHandler,
    GuardedServer,
    RefusalError,
)
from uls_data.triage.listing import read_list
from uls_data.triage.outline import PLANES
from uls_data.triage.shown import Lesions
from uls_data.triage.states import JUDGED, KEPT, STATES, UNDECIDED, letter_of, meets
from uls_data.triage.verdict_keys import VerdictKeys, load_keys
from uls_data.triage.verdicts import Key, Subject, Verdicts
from uls_data.triage.views import Views
from uls_data.triage.vois import PRESETS_HU
from uls_data.triage.wall import MOST_TILES, Wall
from uls_data.voi import VOI_SHAPE

_PAGES = {
    "/": ("triage.html", HTML),
    "/desk.css": ("desk.css", CSS),
    **{
        f"/{name}.js": (f"{name}.js", SCRIPT)
        for name in (
            "triage",
            "desk",
            "wall",
            "filter",
            "single",
            "planes",
            "marks",
            "layers",
            "facts",
        )
    },
    **EDIT_PAGES,
    **COMMON,
}
_FOR_THIS_RUN = "private, max-age=3600, immutable"


class TriageServer(GuardedServer):
    """Serves the VOIs of a build and takes verdicts.

    Attributes
    ----------
    address : str
        To open in a browser, with the token.
    lesions : Lesions
    wall : Wall
    verdicts : Verdicts
    keys : VerdictKeys
    saved : Views
    editor : Editor
    """

    def __init__(
        self,
        lesions: Lesions,
        verdicts: Verdicts,
        keys: VerdictKeys,
        editor: Editor,
        port: int = 0,
    ) -> None:
        self.lesions, self.verdicts, self.keys = lesions, verdicts, keys
        self.editor = editor
        self.wall = Wall(lesions)
        self.saved = Views(verdicts.path.with_name(f"{verdicts.path.stem}-views.json"))
        super().__init__(_Handler, port)

    def counts(self) -> Counter[str]:
        """How many of the VOIs shown are accepted, rejected and noted."""
        letters = Counter(self.states()["states"])
        counts = Counter({word: letters[letter] for word, letter in STATES.items()})
        counts[NOTED] += letters[KEPT]
        return counts

    def states(self) -> dict[str, Any]:
        """One letter for each VOI, and the reasons of those that have one."""
        with self.lock:
            verdicts = self.verdicts.all()
        letters = bytearray(UNDECIDED.encode() * len(self.lesions))
        reasons = {}
        for key, number in self.lesions.numbers(verdicts).items():
            verdict = verdicts[key]
            letters[number] = ord(letter_of(verdict, self.lesions.subject(number)))
            if verdict.reason:
                reasons[number] = verdict.reason
        return {"states": letters.decode(), "reasons": reasons}

    def session(self) -> dict[str, Any]:
        """Return what the page asks for first."""
        return {
            "run": self.run,
            **self.states(),
            "shape": VOI_SHAPE,
            "planes": PLANES,
            "windows_hu": PRESETS_HU,
            "keys": [key.model_dump() for key in self.keys.verdicts],
            "overlay": str(self.verdicts.path),
            "author": self.verdicts.author,
        }

    def voi(self, number: int) -> dict[str, Any]:
        """One VOI, with its verdict."""
        voi = self.lesions.voi(number)
        with self.lock:
            verdict = self.verdicts.of(self.lesions.subject(number).key)
        return {"number": number, "note": verdict.note if verdict else "", **voi.shown()}

    def found(self, where: str, column: str | None, descending: bool) -> dict[str, Any]:
        """VOIs that meet an expression, in their order."""
        numbers = self.lesions.found(where, column, descending=descending)
        return {"numbers": numbers, "hints": unknown_words(where)}

    def views(self) -> list[dict[str, Any]]:
        """Return the views that were kept; how many VOIs each shows, and how many are judged."""
        with self.lock:
            views = self.saved.all()
        told = self.states()
        states, reasons = told["states"], told["reasons"]
        found = []
        for view in views:
            try:
                numbers = self.lesions.found(view.where)
            except ManifestError:
                # The manifest may have been another one when it was kept.
                numbers = []
            shown = [n for n in numbers if meets(view.show, states[n], reasons.get(n))]
            judged = sum(states[n] in JUDGED for n in shown)
            found.append({**view.model_dump(), "count": len(shown), "judged": judged})
        return found

    def keep_view(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Keep a view (`save`), or forget one (`remove`: its name)."""
        with self.lock:
            if "save" in body:
                self.saved.keep(body["save"])
            else:
                self.saved.remove(str(body.get("remove")))
        return self.views()

    def judge(
        self, numbers: Sequence[int], word: str | None, note: str | None = None, reason: str = ""
    ) -> dict[str, Any]:
        """Take a verdict on VOIs, which one step takes back; word `none` removes it.

        Returns
        -------
        dict
            `changed`: number, letter and reason of the VOIs judged; `refused`: number of those
            that could not be, and why; `reload`: another process changed the overlay.

        Raises
        ------
        ErrataError
            None of them can be judged.
        """
        if word == "none":
            return self._clear({self.lesions.subject(number).key: number for number in numbers})
        if len(numbers) == 1:
            # It is on the screen, so that it is decoded already.
            voi = self.lesions.voi(numbers[0])
            told = {numbers[0]: voi.subject or " ".join(voi.problems)}
        else:
            told = self.lesions.described(numbers)
        subjects = {n: found for n, found in told.items() if isinstance(found, Subject)}
        refused = {n: why for n, why in told.items() if isinstance(why, str)}
        if not subjects:
            raise ErrataError(f"no verdict: {next(iter(refused.values()))}")

        def give() -> None:
            left_out = self.verdicts.give_all(subjects.values(), word, note, reason)
            for number, subject in [*subjects.items()]:
                if subject.key in left_out:
                    refused[number] = left_out[subject.key]
                    del subjects[number]

        return self._changed(subjects, refused, give)

    def _clear(self, numbers: dict[Key, int]) -> dict[str, Any]:
        refused: dict[int, str] = {}

        def clear() -> None:
            for key, why in self.verdicts.clear(numbers).items():
                refused[numbers.pop(key)] = why

        return self._changed(numbers.values(), refused, clear)

    def edit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Save an edited mask, see `Editor.save`; a verdict on the previous mask is removed."""
        with self.lock:
            told = self.editor.save(body)
            subject = self.lesions.subject(told["number"])
            verdict = self.verdicts.of(subject.key)
            removed = False
            if verdict is not None and verdict.subject != subject:
                # The edit is saved, whatever becomes of the verdict, which is outdated if it stays.
                with suppress(ErrataError):
                    self.verdicts.clear({subject.key})
                    removed = True
        return {**told, "verdict_removed": removed}

    def undo(self) -> dict[str, Any]:
        """Take back the last step; answers as `judge`."""
        numbers: list[int] = []

        def take_back() -> None:
            keys = self.verdicts.undo()
            if not keys:
                raise ErrataError("nothing to undo")
            numbers.extend(self.lesions.numbers(keys).values())

        return self._changed(numbers, {}, take_back)

    def _changed(
        self, numbers: Iterable[int], refused: Mapping[int, str], change: Callable[[], None]
    ) -> dict[str, Any]:
        with self.lock:
            readings = self.verdicts.readings
            change()
            verdicts = self.verdicts.all()
            reload = self.verdicts.readings != readings
        changed = []
        for number in numbers:
            subject = self.lesions.subject(number)
            verdict = verdicts.get(subject.key)
            reason = verdict.reason if verdict else ""
            changed.append((number, letter_of(verdict, subject), reason))
        return {"changed": changed, "refused": [*refused.items()], "reload": reload}


class _Handler(GuardedHandler):
    pages = _PAGES
    longest_body = 1 << 18
    longer_bodies: ClassVar[Mapping[str, int]] = {"/api/edits": LONGEST_EDIT}
    server: TriageServer

    def answer(self, path: str, asked: Mapping[str, str]) -> None:
        lesions = self.server.lesions
        match path.split("/"):
            case ["", "api", "session"]:
                self.send_json(self.server.session())
            case ["", "api", "states"]:
                self.send_json(self.server.states())
            case ["", "api", "found"]:
                column, descending = asked.get("sort"), asked.get("descending") == "1"
                self.send_json(self.server.found(asked.get("where", ""), column, descending))
            case ["", "api", "views"]:
                self.send_json(self.server.views())
            case ["", "api", "columns"]:
                self.send_json(lesions.columns())
            case ["", "api", "names"]:
                self.send_json(lesions.named(asked.get("voi_id", ""), asked.get("source", "")))
            case ["", "api", "tiles"]:
                numbers = [self._number(n) for n in asked.get("numbers", "").split(",")]
                column = asked.get("column")
                if len(numbers) > MOST_TILES or column not in (None, *column_names()):
                    raise RefusalError(HTTPStatus.NOT_FOUND, "no such tiles")
                self.send_json(self.server.wall.tiles(numbers, column))
            case ["", "api", "vois", number]:
                self.send_json(self.server.voi(self._number(number)))
            case ["", "api", "vois", number, "layers"]:
                self.send_json(lesions.layers(self._number(number)))
            case ["", "api", "masks", number]:
                self.send_json(self.server.editor.opened(self._number(number)))
            case ["", "api", "masks", number, "original"]:
                self.send_json(self.server.editor.original(self._number(number)))
            case ["", "voxels", run, number, axis, index] if run == self.server.run:
                self._slice(self._number(number), axis, index)
            case ["", "thumbnails", run, number] if run == self.server.run:
                self.send_content(
                    self.server.wall.picture(self._number(number)), "image/jpeg", _FOR_THIS_RUN
                )
            case _:
                raise RefusalError(HTTPStatus.NOT_FOUND, "no such page")

    def _slice(self, number: int, axis: str, index: str) -> None:
        if axis not in ("0", "1", "2"):
            raise RefusalError(HTTPStatus.NOT_FOUND, "no such slice")
        at = self.below(index, VOI_SHAPE[int(axis)])
        voxels = self.server.lesions.voi(number).slice(int(axis), at)
        if voxels is None:
            raise RefusalError(HTTPStatus.NOT_FOUND, "no image")
        self.send_content(voxels, "application/octet-stream", _FOR_THIS_RUN)

    def take(self, path: str, body: dict[str, Any]) -> None:
        if path == "/api/undo":
            self.send_json(self.server.undo())
        elif path == "/api/views":
            self.send_json(self.server.keep_view(body))
        elif path == "/api/edits":
            self.send_json(self.server.edit(body))
        elif path == "/api/verdicts":
            self.send_json(self.server.judge(*self._verdict(body)))
        else:
            raise RefusalError(HTTPStatus.NOT_FOUND, "no such page")

    def _verdict(self, body: dict[str, Any]) -> tuple[list[int], str | None, str | None, str]:
        numbers, word, note = (body.get(name) for name in ("numbers", "word", "note"))
        reason = body.get("reason", "")
        known = [(word, "") for word in (None, "none", *STATES)]
        known += [(key.verdict, key.reason) for key in self.server.keys.verdicts]
        count = len(self.server.lesions)
        if (
            not isinstance(numbers, list)
            or not numbers
            or not all(type(n) is int and 0 <= n < count for n in numbers)
            or (word, reason) not in known
            or not isinstance(note, str | None)
        ):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "no verdict on VOIs shown here")
        return [*dict.fromkeys(numbers)], word, note, reason

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
    keys: str | Path | None = None,
) -> TriageServer:
    """Make a server that shows VOIs, on a wall or one by one, and takes verdicts.

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
        Errata overlay for the verdicts; default: `errata/triage.yaml` below `out`. Edited masks go
        to `errata/edits.yaml`, or to `<overlay>-edits.yaml` beside an overlay that is named.
    author : str
        Name or handle that signs; no address.
    keys : path, optional
        YAML file of the verdicts with a reason, see `load_keys`.

    Raises
    ------
    ManifestError
        Not a manifest or a list, or no mask meets the expression and the list.
    ErrataError
        The overlay is none, or the author cannot sign.
    KeysError
        The file of keys is none.
    SourceError
        The port is taken.
    """
    offered = load_keys() if keys is None else load_keys(keys)
    entries = None if listed is None else read_list(Path(listed))
    lesions = Lesions(Path(out), where, sort, entries)
    path = Path(overlay) if overlay is not None else lesions.root / "errata" / "triage.yaml"
    verdicts = Verdicts(path, author)
    edits = path.with_name(f"{path.stem}-edits.yaml") if overlay else lesions.root / EDITS
    editor = Editor(Path(out), lesions, edits, author)
    return TriageServer(lesions, verdicts, offered, editor, port)
