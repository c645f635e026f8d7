"""A file that several processes replace, one at a time, each knowing what the others wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from uls_data.io import remove_temporaries_of
from uls_data.io.lock import LOCK, locked


class SharedFile:
    """A file whose content is held in memory, and read again when another process replaced it.

    Not safe for several threads.

    Parameters
    ----------
    path : Path
        It may be missing.
    take : callable
        Reads the file into memory.
    """

    def __init__(self, path: Path, take: Callable[[], None]) -> None:
        self.path, self._take = path, take
        self._stamp: tuple[int, ...] | None = None

    def read(self) -> None:
        """Take the file as it is on disk."""
        # Looked at first: what is written while we read is then read the next time.
        stamp = self._look()
        self._take()
        self._stamp = stamp

    @contextmanager
    def replacing(self) -> Iterator[None]:
        """Hold the lock of the file's folder, with the newest content taken; replace it inside.

        Raises
        ------
        SourceError, OSError
            It cannot be locked, or not be written.
        """
        with locked(self.path.parent / LOCK, str(self.path), wait=True):
            remove_temporaries_of(self.path)
            if self._look() != self._stamp:
                self.read()
            yield
            self._stamp = self._look()

    def _look(self) -> tuple[int, ...] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
