"""What a prediction has done so far, so that it continues after any interruption."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from uls_data.io import sha256_file
from uls_data.io.journal import Journal
from uls_data.manifest.row import Row
from uls_data.network.plan import ModelError


class Progress:
    """Rows of a prediction, behind a first line that says which prediction it is.

    Parameters
    ----------
    path : Path
        Of its journal, which stays when the prediction is done.
    request : dict
        What makes a prediction another one.
    dry : bool
        Only read what is there.

    Raises
    ------
    ModelError
        The file belongs to another prediction.
    """

    def __init__(self, path: Path, request: dict[str, Any], *, dry: bool = False) -> None:
        self._journal = Journal(path)
        self._request = dict(sorted(request.items()))
        self._rows: dict[str, Row] = {}
        contents = [content for _, content in self._journal.lines()]
        if not contents and not dry:
            self._journal.add(self._request)
        elif contents and contents[0] != self._request:
            raise ModelError(
                f"{path.parent.parent} holds another prediction of layer "
                f"{path.name[1:].removesuffix('.journal')} (other model or options: "
                f"{json.dumps(contents[0])[:300]}); "
                f"give another --layer or --out, or remove {path} to predict everything again"
            )
        for content in contents[1:]:
            match content:
                case [list(key), dict(row)]:
                    self._rows[json.dumps(key)] = cast(Row, row)  # as it was written

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._journal.close()

    def known(self, key: list[Any], out: Path) -> Row | None:
        """Row of a key, if what it says was written is still there."""
        row = self._rows.get(json.dumps(key))
        if row is None or row.get("status") == "failed":
            return None
        path = row.get("label_path")
        if path is not None:
            file = out / path
            if not file.is_file() or sha256_file(file) != row.get("label_sha256"):
                return None
        return row

    def add(self, key: list[Any], row: Row) -> None:
        """Add a row whose files are written."""
        self._journal.add([key, row])

    def finish(self, rows: Iterable[tuple[list[Any], Row]]) -> None:
        """Put all rows in their order: after any interruption the same bytes."""
        self._journal.rewrite([self._request, *map(list, rows)])
