"""Run one function over many tasks: here, in local processes, or on a dask cluster.

Tasks carry paths and return rows, never arrays. Nothing that decides a result
depends on which of the three is used, nor on the order in which tasks end.

A worker has one task at a time, and a task starts only when the memory that it
will need is free (or alone, if it needs more than there is): so a worker that
dies is the fault of its task, which is tried again a few times and then given
up by name.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from uls_data.errors import SourceError

T = TypeVar("T")
R = TypeVar("R")
# How often a worker may die over one task before the task is given up.
ALLOWED_DEATHS = 2
# Share of the free memory that builds may take; the rest is for the page cache.
_MEMORY_SHARE = 0.8
# How many tasks may overtake one that waits for memory.
_OVERTAKERS = 32


@dataclass(frozen=True)
class Pool:
    """Where tasks run.

    Attributes
    ----------
    workers : int
        Local processes; 1 runs in this process.
    scheduler : str or None
        Address of a running dask scheduler, such as `tcp://host:8786`, instead.
    """

    workers: int = 1
    scheduler: str | None = None


def run_tasks(
    function: Callable[[T], R],
    tasks: Sequence[T],
    pool: Pool,
    *,
    lost: Callable[[T, str], R],
    need_bytes: Callable[[T], int] | None = None,
) -> Iterator[tuple[T, R]]:
    """Yield (task, result) as tasks end, in any order.

    Parameters
    ----------
    function : callable
        Picklable; an exception that it raises ends the run.
    lost : callable
        Result of a task whose worker died again and again.
    need_bytes : callable, optional
        Memory that a task will need, known before it starts.
    """
    if pool.scheduler is None and (pool.workers == 1 or len(tasks) <= 1):
        for task in tasks:
            yield task, function(task)
        return
    with ExitStack() as stack:
        client, places, budget = _connect(stack, pool, len(tasks))
        yield from _flow(client, places, budget, function, tasks, lost, need_bytes)


def _connect(stack: ExitStack, pool: Pool, tasks: int) -> tuple[Any, int, int]:
    """Client, how many tasks may run at once, and how much memory they may take together."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.system import MEMORY_LIMIT

    stack.enter_context(
        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
                "distributed.worker.memory.spill": False,
                "distributed.worker.memory.target": False,
                "distributed.worker.memory.pause": False,
                "distributed.admin.tick.limit": "1h",
            }
        )
    )
    if pool.scheduler is not None:
        try:
            client = stack.enter_context(Client(pool.scheduler, timeout="20s"))
        except (OSError, ValueError) as error:
            raise SourceError(
                f"--scheduler {pool.scheduler}: no dask scheduler answers there ({error})"
            ) from error
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        budget = sum(worker["memory_limit"] for worker in workers)
        return client, max(1, len(workers)), budget or MEMORY_LIMIT
    import psutil

    budget = int(_MEMORY_SHARE * min(MEMORY_LIMIT, psutil.virtual_memory().available))
    # Without a folder of its own dask would write into the user's working folder.
    scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="uls-data-"))
    places = min(pool.workers, tasks)
    with _interrupts_left_to_us():
        cluster = stack.enter_context(
            LocalCluster(
                n_workers=places,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,
                local_directory=scratch,
                silence_logs="CRITICAL",
                # Each may take all of it: what runs together is decided here, by need.
                memory_limit=budget,
            )
        )
    return stack.enter_context(Client(cluster)), places, budget


@contextmanager
def _interrupts_left_to_us() -> Iterator[None]:
    """Let processes that start now ignore Ctrl-C: it is answered once, here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _flow(
    client: Any,
    places: int,
    budget: int,
    function: Callable[[T], R],
    tasks: Sequence[T],
    lost: Callable[[T, str], R],
    need_bytes: Callable[[T], int] | None,
) -> Iterator[tuple[T, R]]:
    from distributed import KilledWorker, as_completed

    ahead = _Ahead(tasks, need_bytes or (lambda _task: 0))
    running: dict[Any, tuple[T, int]] = {}
    ended = as_completed()

    def fill() -> None:
        while len(running) < places:
            taken = sum(need for _, need in running.values())
            following = ahead.take(budget - taken, alone=not running)
            if following is None:
                return
            future = client.submit(function, following[0], pure=False)
            running[future] = following
            ended.add(future)

    fill()
    while running:
        future = next(ended)
        task, _ = running.pop(future)
        if future.status == "error" and isinstance(future.exception(), KilledWorker):
            detail = (
                f"its worker died {ALLOWED_DEATHS + 1} times, as when memory runs out; "
                "build it alone (--only) with --workers 1"
            )
            result = lost(task, detail)
        else:
            result = future.result()
        future.release()
        fill()
        yield task, result


class _Ahead:
    """Tasks in order; one that does not fit waits, and few may overtake it."""

    def __init__(self, tasks: Sequence[T], need_bytes: Callable[[T], int]) -> None:
        self._rest = iter(tasks)
        self._need = need_bytes
        self._waiting: deque[tuple[Any, int]] = deque()
        self._overtaken = 0

    def take(self, free: int, *, alone: bool) -> tuple[Any, int] | None:
        """Next task that fits into `free` bytes, with its need; any, if nothing else runs."""
        if self._waiting and (alone or self._waiting[0][1] <= free):
            self._overtaken = 0
            return self._waiting.popleft()
        while self._overtaken < _OVERTAKERS:
            task = next(self._rest, None)
            if task is None:
                return None
            need = self._need(task)
            if need <= free or (alone and not self._waiting):
                self._overtaken += bool(self._waiting)
                return task, need
            self._waiting.append((task, need))
            self._overtaken += 1
        return None
