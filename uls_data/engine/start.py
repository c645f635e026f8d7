"""What makes a process start sooner, done before it loads its work."""

from __future__ import annotations

import gc
import os

# Objects made between two runs of the garbage collector; Python's own number is 700.
_NEW_OBJECTS = 50_000


def start_light() -> None:
    """Collect garbage less often, and let numpy start no threads of its own.

    Loading modules makes many objects and no garbage. The threads are for large matrices, which no
    build multiplies, and take 40 ms to start.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
