"""Views that a curator keeps: a query, an order and a state under a name, in a small file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from uls_data.errata.overlay import wrong_field
from uls_data.errors import UlsDataError
from uls_data.io import write_bytes
from uls_data.io.shared import SharedFile

_LONGEST_BYTES = 1 << 20
MOST_VIEWS = 50


class ViewsError(UlsDataError):
    """Views cannot be read, kept or found."""


class View(BaseModel):
    """What the page shows.

    Attributes
    ----------
    name : str
    where : str
        As `query` takes it.
    sort : str
        Column; empty: as listed.
    descending : bool
    show : str
        State of the verdicts, as the page names it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
    where: Annotated[str, StringConstraints(max_length=10_000)] = ""
    sort: Annotated[str, StringConstraints(max_length=60)] = ""
    descending: bool = False
    show: Annotated[str, StringConstraints(max_length=60)] = "all"


_LIST = TypeAdapter(Annotated[list[View], Field(max_length=MOST_VIEWS)])


class Views:
    """The views beside an overlay, each change written before the call returns.

    Not safe for several threads.

    Parameters
    ----------
    path : Path
        JSON; made when the first view is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._views: list[View] = []
        self._file = SharedFile(path, self._take)

    def all(self) -> list[View]:
        """Return the views in the order in which they were kept.

        Raises
        ------
        ViewsError
            The file cannot be read, or holds none.
        """
        try:
            self._file.read()
        except OSError as error:
            raise ViewsError(f"{self.path}: cannot be read: {error.strerror}") from error
        return list(self._views)

    def keep(self, content: Any) -> None:
        """Keep a view, instead of one of the same name.

        Raises
        ------
        ViewsError
            It is none, there are too many, or the file cannot be written.
        """
        try:
            view = View.model_validate(content)
        except ValidationError as error:
            raise ViewsError(f"no view: {wrong_field(error)}") from error
        self._replace(view.name, [view])

    def remove(self, name: str) -> None:
        """Remove a view; raises as `keep`."""
        self._replace(name, [])

    def _replace(self, name: str, by: list[View]) -> None:
        try:
            with self._file.replacing():
                views = [view for view in self._views if view.name != name] + by
                if len(views) > MOST_VIEWS:
                    raise ViewsError(f"{MOST_VIEWS} views are kept; remove one first")
                told = [view.model_dump() for view in views]
                write_bytes(self.path, json.dumps(told, indent=1).encode() + b"\n")
                self._views = views
        except OSError as error:
            raise ViewsError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _take(self) -> None:
        if not self.path.exists():
            self._views = []
            return
        with self.path.open("rb") as file:
            data = file.read(_LONGEST_BYTES + 1)
        if len(data) > _LONGEST_BYTES:
            raise ViewsError(f"{self.path}: larger than saved views can be")
        try:
            self._views = _LIST.validate_json(data)
        except ValidationError as error:
            raise ViewsError(f"{self.path}: no saved views: {wrong_field(error)}") from error
