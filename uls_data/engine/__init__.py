"""Run one function over many tasks: here, in local processes, or on a dask cluster.

Tasks carry paths and return rows, never arrays. Nothing that decides a result
depends on which of the three is used, nor on the order in which tasks end.

A worker has one task at a time, and a task starts only when the memory that it
will need is free (or alone, if it needs more than there is): so a worker that
dies is the fault of its task, which is tried again a few times and then fails
by name.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from uls_data.engine.patience import Patience
from uls_data.engine.queue import Queue

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Pool:
    """Where tasks run.

    Attributes
    ----------
    workers : int
        Local processes; 0 runs in this process, where a crash or a lack of memory
        in one task ends the whole run.
    scheduler : str or None
        Address of a running dask scheduler, such as `tcp://host:8786`, instead.
    """

    workers: int = 0
    scheduler: str | None = None


def run_tasks(
    function: Callable[[T], R],
    tasks: Sequence[T],
    pool: Pool,
    *,
    lost: Callable[[T, str], R],
    need_bytes: Callable[[T], int] | None = None,
    patience: Patience[T, R] | None = None,
) -> Generator[tuple[T, R]]:
    """Yield (task, result) as tasks end, in any order; closing it ends the workers first.

    Parameters
    ----------
    function : callable
        Picklable; an exception that it raises ends the run.
    lost : callable
        Result of a task whose worker died again and again.
    need_bytes : callable, optional
        Memory that a task will need, known before it starts.
    patience : Patience, optional
        How long a task may take; in this process (no workers) as long as it likes.

    Raises
    ------
    SourceError
        The scheduler does not answer, or went away.
    """
    if not tasks:
        return
    queue = Queue(tasks, need_bytes or (lambda _task: 0))
    if pool.scheduler is not None:
        from uls_data.engine.cluster import run_on_cluster

        yield from run_on_cluster(pool.scheduler, function, queue, lost, patience)
    elif pool.workers > 0:
        from uls_data.engine.local import run_in_processes

        yield from run_in_processes(pool.workers, function, queue, lost, patience)
    else:
        for task in tasks:
            yield task, function(task)
