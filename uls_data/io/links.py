"""Paths with their links followed."""

from __future__ import annotations

import errno
from pathlib import Path


def real_path(path: Path) -> Path:
    """Absolute path without links.

    Raises
    ------
    OSError
        Links lead back to themselves, of which `Path.resolve` says nothing since Python 3.13.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise
    return path.resolve()
