"""What a prediction has done so far, so that it goes on after any end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from uls_data.io import sha256_file, write_bytes
from uls_data.manifest.row import Row
from uls_data.network.plan import ModelError


class Journal:
    """One line a row, after a first line that says which prediction it is.

    Parameters
    ----------
    path : Path
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
        self.path = path
        self._rows: dict[str, Row] = {}
        self._head = head = json.dumps(request, sort_keys=True)
        lines = path.read_bytes().split(b"\n") if path.is_file() else []
        # The last piece is empty, or a line that a kill cut off.
        whole = [line.decode("utf-8", "replace") for line in lines[:-1]]
        if whole and whole[0] != head:
            raise ModelError(
                f"{path.parent.parent} holds another prediction of layer "
                f"{path.name[1:].removesuffix('.journal')} (other model or options: {whole[0]}); "
                "give another --layer or --out, or remove that file to predict all anew"
            )
        kept = []
        for line in whole[1:]:
            try:
                key, row = json.loads(line)
            except ValueError:
                continue
            self._rows[json.dumps(key)] = row
            kept.append(line)
        self._file: IO[str] | None = None
        if dry:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in [head, *kept])
        if not path.is_file() or path.read_bytes() != text.encode():
            path.write_text(text, encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def known(self, key: list[Any], out: Path) -> Row | None:
        """Row of a key, if what it says was written is still there."""
        row = self._rows.get(json.dumps(key))
        if row is None or row["status"] == "failed":
            return None
        path = row.get("label_path")
        if path is not None:
            file = out / path
            if not file.is_file() or sha256_file(file) != row["label_sha256"]:
                return None
        return row

    def add(self, key: list[Any], row: Row) -> None:
        """Add a row whose files are written."""
        assert self._file is not None
        self._file.write(json.dumps([key, row]) + "\n")
        self._file.flush()

    def close_with(self, rows: Iterable[tuple[list[Any], Row]]) -> None:
        """Rewrite the file in the order of the rows: after any interruption the same bytes."""
        assert self._file is not None
        self._file.close()
        lines = [json.dumps([key, row]) for key, row in rows]
        write_bytes(self.path, "".join(f"{line}\n" for line in [self._head, *lines]).encode())
