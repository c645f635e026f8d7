"""Addresses of the server of VOIs."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from uls_data.manifest.schema import column_names
from uls_data.triage.editing import EDIT_PAGES, LONGEST_EDIT
from uls_data.triage.guarded import COMMON, CSS, HTML, SCRIPT, GuardedHandler, RefusalError
from uls_data.triage.server import TriageServer
from uls_data.triage.states import STATES
from uls_data.triage.wall import MOST_TILES
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


class Handler(GuardedHandler):
    """Answers who looks at VOIs and judges them."""

    pages = _PAGES
    longest_body = 1 << 18
    longer_bodies: ClassVar[Mapping[str, int]] = {"/api/edits": LONGEST_EDIT}
    server: TriageServer

    def answer(self, path: str, asked: Mapping[str, str]) -> None:  # noqa: D102
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
                self.send_json(self.server.layers(self._number(number)))
            case ["", "api", "masks", number]:
                self.send_json(self.server.editor.opened(self._number(number)))
            case ["", "api", "masks", number, "original"]:
                self.send_json(self.server.editor.original(self._number(number)))
            case ["", "voxels", run, number, axis, index] if run == self.server.run:
                self._slice(self._number(number), axis, index)
            case ["", "thumbnails", run, number, *mask] if run == self.server.run:
                self._picture(self._number(number), "/".join(mask))
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

    def _picture(self, number: int, mask: str) -> None:
        """Send a picture of the mask that counts; `mask`: hash of the one that is asked for."""
        picture = self.server.wall.picture(number)
        now = self.server.lesions.edited().get(number, "")
        # A page that asks for the mask before an edit asks again the next time.
        self.send_content(picture, "image/jpeg", _FOR_THIS_RUN if mask == now else "no-store")

    def take(self, path: str, body: dict[str, Any]) -> None:  # noqa: D102
        if path == "/api/undo":
            self.send_json(self.server.undo())
        elif path == "/api/views":
            self.send_json(self.server.keep_view(body))
        elif path == "/api/edits":
            self.send_json(self.server.edit(body))
        elif path == "/api/masks":
            self.send_json(self.server.take_mask(*self._choice(body)))
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

    def _choice(self, body: dict[str, Any]) -> tuple[int, str]:
        number, name = body.get("number"), body.get("take")
        if type(number) is not int or not 0 <= number < len(self.server.lesions):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "no VOI shown here")
        if name not in ("", *self.server.curators.names):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "no such curator")
        return number, name

    def _number(self, text: str) -> int:
        return self.below(text, len(self.server.lesions))
