"""What a run has finished, one line a thing, so that the same command continues from there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from uls_data.io import atomic_write


class Journal:
    """A file of JSON lines, each added after the files that it tells of have their names.

    A line is an object or a list. A kill at any instant costs at most the line at work: what
    is neither is not a line, and lines added later stand apart from it. What a line says, and
    whether it still holds, is for the owner to judge.

    Parameters
    ----------
    path : Path
        Made with the first line that is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[bytes] | None = None

    def is_file(self) -> bool:
        """Whether there is a journal, though perhaps without a whole line."""
        return self.path.is_file()

    def lines(self) -> Iterator[tuple[int, Any]]:
        """Byte offset and content of each whole line; none without a file."""
        if not self.is_file():
            return
        at = 0
        with self.path.open("rb") as file:
            for line in file:
                with suppress(ValueError, RecursionError):
                    content = json.loads(line)
                    # Other JSON may look whole and yet be cut: 12 of 123.
                    if isinstance(content, dict | list):
                        yield at, content
                at += len(line)

    def contents_at(self, places: Iterable[int]) -> Iterator[Any]:
        """Content of the lines at these offsets."""
        with self.path.open("rb") as file:
            for at in places:
                file.seek(at)
                yield json.loads(file.readline())

    def add(self, content: Any) -> int:
        """Write a line at the end, out to the operating system; returns its offset."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("ab")
            if self._file.tell():
                # A line cut short by a kill must not swallow the next one.
                self._file.write(b"\n")
        at = self._file.tell()
        self._file.write(_line(content))
        self._file.flush()
        return at

    def close(self) -> None:
        """Close the file until the next line; what it holds stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def rewrite(self, contents: Iterable[Any]) -> None:
        """Put these lines in the place of all there are, at once."""
        self.close()
        with atomic_write(self.path) as temporary, temporary.open("wb") as file:
            file.writelines(map(_line, contents))

    def remove(self) -> None:
        """Forget it all: the run is finished."""
        self.close()
        self.path.unlink(missing_ok=True)


def _line(content: Any) -> bytes:
    return json.dumps(content).encode() + b"\n"
