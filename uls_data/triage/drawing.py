"""What the server of lesions without lines shows, and the lines that readers draw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from uls_data.errors import CaseError, SourceError
from uls_data.lesions.drawn_lines import ENDS, MOST_MM, MOST_SHARE, NotDrawn
from uls_data.measure.lines import Lines
from uls_data.triage.asked import AskedLesions
from uls_data.triage.drawn_table import DrawnTable
from uls_data.triage.guarded import (
    COMMON,
    CSS,
    HTML,
    SCRIPT,
    GuardedHandler,
    GuardedServer,
    RefusalError,
)
from uls_data.triage.vois import WINDOWS_HU

DRAWN_LINES = "drawn-lines.csv"
_PAGES = {
    "/": ("draw.html", HTML),
    "/draw.css": ("draw.css", CSS),
    "/draw.js": ("draw.js", SCRIPT),
    "/lines.js": ("lines.js", SCRIPT),
    "/words.js": ("words.js", SCRIPT),
    **COMMON,
}
# No slice has so many columns; not a number is not below it either.
_FARTHEST = 1e5
_OPEN, _DRAWN, _SKIPPED = ".", "d", "s"


class DrawingServer(GuardedServer):
    """Shows key slices and takes lines.

    Attributes
    ----------
    lesions : AskedLesions
    table : DrawnTable
    """

    def __init__(self, lesions: AskedLesions, table: DrawnTable, port: int = 0) -> None:
        self.lesions, self.table = lesions, table
        super().__init__(_Handler, port)

    def states(self) -> str:
        """One letter for each lesion."""
        with self.lock:
            return "".join(self._letter(at) for at in range(len(self.lesions)))

    def counts(self) -> Counter[str]:
        """How many lesions this reader drew, and skipped."""
        states = Counter(self.states())
        return Counter({"drawn": states[_DRAWN], "skipped": states[_SKIPPED]})

    def _letter(self, number: int) -> str:
        row = self.table.of(self.lesions[number].name)
        if row is None:
            return _OPEN
        return _SKIPPED if row["skip"] else _DRAWN

    def session(self) -> dict[str, Any]:
        """Return what the page asks for first."""
        return {
            "run": self.run,
            "states": self.states(),
            "windows_hu": WINDOWS_HU,
            "reader": self.table.reader,
            "lines": str(self.table.path),
            "reasons": [reason.value for reason in NotDrawn],
            "most_share": MOST_SHARE,
            "most_mm": MOST_MM,
        }

    def lesion(self, number: int) -> dict[str, Any]:
        """One lesion, with what this reader drew, as JSON can hold it."""
        asked = self.lesions[number]
        row = asked.row
        told: dict[str, Any] = {
            "number": number,
            "name": asked.name,
            "stated_mm": asked.stated_mm,
            "window": asked.window,
            "row": {key: row[key] for key in ("source", "case_id", "lesion_type", "detail")},
        }
        with self.lock:
            mine = self.table.of(asked.name)
        told["skipped"] = str(mine["skip_reason"]) if mine is not None and mine["skip"] else ""
        try:
            scan = self.lesions.scan(number)
        except CaseError as error:
            return {**told, "problem": f"Image: {error.detail}"}
        key = scan.index(str(row["key_slice_uid"]))
        problem = "" if key is not None else "The key slice is no longer in the series."
        told |= {
            "shape": scan.shape,
            "spacing_mm": scan.spacing_mm,
            "letters": scan.letters,
            "key_slice": scan.shape[2] // 2 if key is None else key,
            "problem": problem,
        }
        if mine is not None and not mine["skip"]:
            at = scan.index(str(mine["sop_instance_uid"]))
            points = [mine[name] for name in ENDS]
            if at is not None and all(isinstance(point, float) for point in points):
                told["drawn"] = {"slice": at, "points": [points[k : k + 2] for k in (0, 2, 4, 6)]}
        return told

    def draw(self, number: int, at: int, points: list[list[float]]) -> None:
        """Take the lines of a lesion; the longer one is its long axis.

        Raises
        ------
        SourceError
            No mask could be made of them, or they cannot be written.
        CaseError
            The scan cannot be read.
        """
        asked = self.lesions[number]
        scan = self.lesions.scan(number)
        uid = scan.series.sop_instance_uids[at]
        if not uid:
            raise SourceError("this slice has no SOP Instance UID, so lines cannot refer to it")
        lines = Lines.of(points)
        if problem := lines.problem(scan.shape[:2]):
            raise SourceError(f"no lines of a lesion: {problem}")
        long_mm, short_mm = lines.length_mm(scan.spacing_mm)
        if long_mm < short_mm:
            lines, long_mm, short_mm = Lines(lines.short, lines.long), short_mm, long_mm
        series = str(asked.row["series_instance_uid"])
        with self.lock:
            self.table.draw(asked.name, series, uid, lines, (long_mm, short_mm))

    def skip(self, number: int, reason: NotDrawn) -> None:
        """Take it that no lines are drawn for a lesion."""
        asked = self.lesions[number]
        named = str(asked.row["series_instance_uid"]), str(asked.row["key_slice_uid"])
        with self.lock:
            self.table.skip(asked.name, *named, reason)

    def clear(self, number: int) -> None:
        """Take away what this reader said about a lesion."""
        with self.lock:
            self.table.clear(self.lesions[number].name)

    def undo(self) -> int | None:
        """Take back the last change; returns the lesion's number, None where it is not shown."""
        with self.lock:
            name = self.table.undo()
        if name is None:
            raise SourceError("nothing to undo")
        return self.lesions.number(name)


class _Handler(GuardedHandler):
    pages = _PAGES
    server: DrawingServer

    def answer(self, path: str, asked: Mapping[str, str]) -> None:
        lesions = self.server.lesions
        match path.split("/"):
            case ["", "api", "session"]:
                self.send_json(self.server.session())
            case ["", "api", "lesions", number]:
                self.send_json(self.server.lesion(self.below(number, len(lesions))))
            case ["", "slices", run, number, index, window] if run == self.server.run:
                if window not in WINDOWS_HU:
                    raise RefusalError(HTTPStatus.NOT_FOUND, "no such slice")
                scan = lesions.scan(self.below(number, len(lesions)))
                png = scan.png(self.below(index, scan.shape[2]), window)
                self.send_content(png, "image/png", "private, max-age=3600, immutable")
            case _:
                raise RefusalError(HTTPStatus.NOT_FOUND, "no such page")

    def take(self, path: str, body: dict[str, Any]) -> None:
        if path == "/api/undo":
            number = self.server.undo()
            self.send_json({"number": number, "states": self.server.states()})
            return
        number = body.get("number")
        if type(number) is not int or not 0 <= number < len(self.server.lesions):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "no lesion shown here")
        if path == "/api/lines":
            self.server.draw(number, *self._lines(number, body))
        elif path == "/api/skips":
            reason = body.get("reason")
            if not isinstance(reason, str) or reason not in set(NotDrawn):
                raise RefusalError(HTTPStatus.BAD_REQUEST, "no reason of the list")
            self.server.skip(number, NotDrawn(reason))
        elif path == "/api/clear":
            self.server.clear(number)
        else:
            raise RefusalError(HTTPStatus.NOT_FOUND, "no such page")
        self.send_json({"number": number, "states": self.server.states()})

    def _lines(self, number: int, body: dict[str, Any]) -> tuple[int, list[list[float]]]:
        at, points = body.get("slice"), body.get("points")
        slices = self.server.lesions.scan(number).shape[2]
        if type(at) is not int or not 0 <= at < slices:
            raise RefusalError(HTTPStatus.BAD_REQUEST, "no slice of the scan")
        if not (isinstance(points, list) and len(points) == 4 and all(map(_is_point, points))):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "expected four points, column and row")
        return at, points


def _is_point(point: Any) -> bool:
    return (
        isinstance(point, list)
        and len(point) == 2
        and all(type(it) in (int, float) and abs(it) < _FARTHEST for it in point)
    )


def drawing_server(
    out: str | Path,
    raw: str | Path,
    where: str = "",
    *,
    author: str,
    lines: str | Path | None = None,
    port: int = 0,
) -> DrawingServer:
    """Make a server on which a reader draws the lines of lesions that wait for them.

    It listens on 127.0.0.1 alone, and answers only those who know its token. Call `serve_forever`
    on it, and `server_close` in the end; it is a context manager.

    Parameters
    ----------
    out : path
        OUT folder of a build, or one manifest of it.
    raw : path
        Folder that the build read.
    where : str
        As `query` takes it.
    author : str
        Name or handle that tells readers apart; no address.
    lines : path, optional
        Table that the lines go to; default: `drawn-lines.csv` below `raw`, where recipes look.
    port : int
        0 takes a free one.

    Raises
    ------
    ManifestError
        Not a manifest, or no lesion waits for lines.
    SourceError
        The table is not one of drawn lines, the author's name cannot be used, the raw folder is
        missing, or the port is taken.
    """
    lesions = AskedLesions(Path(out), Path(raw), where)
    table = DrawnTable(Path(lines) if lines is not None else Path(raw) / DRAWN_LINES, author)
    return DrawingServer(lesions, table, port)
