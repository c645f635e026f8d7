"""One run at a time in one output folder."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from uls_data.errors import SourceError

LOCK = ".uls-data.lock"
_TRIES = 100


@contextmanager
def locked(path: Path, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold an exclusive lock on a file, which exists only while the lock is held.

    The operating system frees the lock of a process that dies, however it dies, so
    a stale file never blocks anyone. Works on shared disks that support flock. Folders
    that had to be made for the file go with it if nothing else came into them.

    Parameters
    ----------
    path : Path
        The file; by custom `LOCK` in the folder that has one writer.
    what : str
        Begins the message: the option and the folder.
    wait : bool
        Wait until it is free: for what is held for moments.

    Raises
    ------
    SourceError
        Another process holds it, and the message names the process; or the folder cannot be
        written to.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        descriptor = _taken(path, wait)
    except _HeldError as error:
        raise SourceError(
            f"{what}: another run is at work there ({error}). Wait for it, or name another folder."
        ) from error
    except OSError as error:
        raise SourceError(
            f"{what}: cannot be written: {error.strerror or error}. "
            "Fix this and run the same command again."
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):  # not empty: what the run was for
            for folder in made:
                folder.rmdir()


class _HeldError(Exception):
    """Who holds the lock."""


def _taken(path: Path, wait: bool) -> int:
    """Return the descriptor of the file, locked, with our name in it."""
    while True:
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # The holder before us may have removed the file between our open and our lock.
            if _same_file(descriptor, path):
                os.ftruncate(descriptor, 0)
                name = f"process {os.getpid()} on {socket.gethostname()}\n"
                os.pwrite(descriptor, name.encode(), 0)
                return descriptor
        except BlockingIOError as error:
            holder = os.pread(descriptor, 200, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise _HeldError(holder or "it has just started") from error
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _opened(path: Path) -> int:
    for left in reversed(range(_TRIES)):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # No link: what it leads to would lose its content.
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except FileNotFoundError:
            # A run that ended may have removed the empty folder in between.
            if not left:
                raise
    raise AssertionError


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        here, there = os.fstat(descriptor), path.stat()
    except FileNotFoundError:
        return False
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)
