"""The right to read, taken away: from files by their modes, and from root, whom no mode stops."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CAPABILITIES_VERSION_3 = 0x20080522
_READS_EVERYTHING = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


@contextmanager
def without_root() -> Iterator[None]:
    """Take from this thread the right to read everything, which root alone has."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(header, data) == 0
    before = data[0]
    data[0] = before & ~_READS_EVERYTHING
    assert libc.capset(header, data) == 0
    try:
        yield
    finally:
        data[0] = before
        assert libc.capset(header, data) == 0


@contextmanager
def hidden(path: Path, mode: int = 0) -> Iterator[None]:
    """Give a file or folder a mode for a while."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)
