"""Run one function over many tasks: here, in local processes, or on a dask cluster.

Tasks carry paths and return rows, never arrays. Nothing that decides a result
depends on which of the three is used, nor on the order in which tasks end.
"""

from __future__ import annotations

import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from uls_data.errors import SourceError

T = TypeVar("T")
R = TypeVar("R")
# Enough to keep every worker busy, few enough that a million tasks stay cheap.
_WAITING_PER_WORKER = 4
_ALLOWED_DEATHS = 2


def run_tasks(
    function: Callable[[T], R],
    tasks: Sequence[T],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    lost: Callable[[T, str], R],
) -> Iterator[tuple[T, R]]:
    """Yield (task, result) as tasks end, in any order.

    Parameters
    ----------
    function : callable
        Picklable; an exception that it raises ends the run.
    workers : int
        Local processes; 1 runs in this process.
    scheduler : str, optional
        Address of a running dask scheduler, such as `tcp://host:8786`, instead.
    lost : callable
        Result of a task whose worker died repeatedly.
    """
    if scheduler is None and (workers == 1 or len(tasks) <= 1):
        for task in tasks:
            yield task, function(task)
        return
    yield from _on_dask(function, tasks, workers, scheduler, lost)


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


def _on_dask(
    function: Callable[[T], R],
    tasks: Sequence[T],
    workers: int,
    scheduler: str | None,
    lost: Callable[[T, str], R],
) -> Iterator[tuple[T, R]]:
    import dask
    from distributed import Client, KilledWorker, LocalCluster, as_completed

    settings = {
        "distributed.scheduler.allowed-failures": _ALLOWED_DEATHS,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.target": False,
        "distributed.admin.tick.limit": "1h",
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        if scheduler is None:
            # Without a folder of its own dask would write into the user's working folder.
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="uls-data-"))
            with _interrupts_left_to_us():
                cluster = stack.enter_context(
                    LocalCluster(
                        n_workers=min(workers, len(tasks)),
                        threads_per_worker=1,
                        processes=True,
                        dashboard_address=None,
                        local_directory=scratch,
                        silence_logs="CRITICAL",
                    )
                )
            client = stack.enter_context(Client(cluster))
        else:
            try:
                client = stack.enter_context(Client(scheduler, timeout="20s"))
            except (OSError, ValueError) as error:
                raise SourceError(
                    f"--scheduler {scheduler}: no dask scheduler answers there ({error})"
                ) from error
            workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        waiting: dict[Any, T] = {}
        rest = iter(tasks)

        def submit() -> Any | None:
            task = next(rest, None)
            if task is None:
                return None
            future = client.submit(function, task, pure=False)
            waiting[future] = task
            return future

        first = [submit() for _ in range(min(len(tasks), workers * _WAITING_PER_WORKER))]
        ended = as_completed([future for future in first if future is not None])
        for future in ended:
            task = waiting.pop(future)
            if future.status == "error" and isinstance(future.exception(), KilledWorker):
                result = lost(
                    task,
                    f"its worker died {_ALLOWED_DEATHS + 1} times, as when memory runs out; "
                    "build it alone (--only) with --workers 1",
                )
            else:
                result = future.result()
            future.release()
            following = submit()
            if following is not None:
                ended.add(following)
            yield task, result
