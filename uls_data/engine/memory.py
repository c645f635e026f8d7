"""Memory: how much of it tasks may take, and keeping them to that."""

from __future__ import annotations

import ctypes
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Share of the free memory that builds may take; the rest is for the page cache.
_SHARE = 0.8
_LEAST_BYTES = 1 << 30
# A worker's libraries, a usual scan with its mask, and VOIs. No worker keeps more of what is freed,
# which a case of another may need.
_KEPT_BYTES = 3 << 27
# Numbers of options of glibc's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_CGROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int:
    """Bytes that tasks may take together: a share of what is free here.

    Counts what the machine has, and what the control groups that this process is in
    (a container, a batch job) leave it.
    """
    import psutil

    free = min([psutil.virtual_memory().available, *_free_in_groups()])
    return max(_LEAST_BYTES, int(_SHARE * free))


def _free_in_groups() -> Iterator[int]:
    """Free bytes of each control group (version 2) above this process that has a limit."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            name = line.removeprefix("0::/")
            if name == line:
                continue
            for group in [_CGROUPS / name, *(_CGROUPS / name).parents]:
                with suppress(OSError, ValueError):
                    limit = int((group / "memory.max").read_text())
                    stat = dict(map(str.split, (group / "memory.stat").read_text().splitlines()))
                    used = int((group / "memory.current").read_text())
                    # Unused file pages are freed when memory is wanted.
                    yield limit - used + int(stat.get("inactive_file", 0))


def limit_memory(limit_bytes: int) -> None:
    """Let allocations of this process beyond a limit fail, instead of the machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def keep_memory() -> None:
    """Let freed memory stay with this process for its next scan, where the C library can.

    The system clears every page that it hands out, which costs CPU time (docs/speed.md).
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, 1 << 30)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)


def trim_memory() -> None:
    """Give freed memory back to the system, where the C library can and there is much of it."""
    with suppress(OSError, AttributeError):
        if _resident_bytes() > _KEPT_BYTES:
            ctypes.CDLL(None).malloc_trim(0)


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
