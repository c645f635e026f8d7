"""Worker processes on this machine, each with a pipe of its own.

No lock or queue is shared, so a worker may die at any instant without harm to the
others; its end closes its pipe, which tells us whose task it had. Workers end at
once when this process does, however it does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import TypeVar

from uls_data.engine.memory import free_memory
from uls_data.engine.patience import LOOK_S, Patience, Watch
from uls_data.engine.process import DeadWorkerError, Here, Worker
from uls_data.engine.queue import ALLOWED_DEATHS, Item, Queue
from uls_data.errors import SourceError

T = TypeVar("T")
R = TypeVar("R")
_LOG = logging.getLogger("uls_data")
_FEWER = "free memory, ask for fewer workers, or for none (0): all work is then done in one process"


def run_in_processes(
    places: int,
    function: Callable[[T], R],
    queue: Queue,
    lost: Callable[[T, str], R],
    patience: Patience[T, R] | None = None,
) -> Iterator[tuple[T, R]]:
    """Yield (task, result) as tasks end in `places` processes.

    Raises
    ------
    SourceError
        No worker process can be started.
    """
    watch = Watch(patience)
    limit_bytes = free_memory()
    workers: set[Worker] = set()
    idle: list[Worker] = []
    busy: dict[connection.Connection, tuple[Worker, Item]] = {}
    in_order = False
    stillborn = 0
    try:
        while queue or busy:
            while len(workers) < min(places, len(busy) + len(queue)):
                try:
                    worker = Worker(function, limit_bytes)
                except OSError as error:
                    places = _no_more(error, len(workers))
                    break
                workers.add(worker)
                idle.append(worker)
            taken = sum(item.need_bytes for _, item in busy.values())
            while idle and (item := queue.take(limit_bytes - taken, alone=not busy)):
                worker = idle.pop()
                worker.begin(item.task)
                busy[worker.pipe] = worker, item
                watch.begin(worker.pipe, item.task)
                taken += item.need_bytes
            ended = connection.wait(list(busy), LOOK_S if patience is not None else None)
            for pipe, late in watch.overdue():
                if pipe in ended:
                    continue
                worker, item = busy.pop(pipe)
                watch.end(pipe)
                workers.remove(worker)
                worker.kill()
                worker.join()
                yield item.task, late
            for pipe in ended:
                assert isinstance(pipe, connection.Connection)
                worker, item = busy.pop(pipe)
                try:
                    result = worker.result()
                    if result is Here:
                        worker.here = True
                        stillborn = 0
                        busy[pipe] = worker, item
                        watch.begin(pipe, item.task)  # what it took to start is not the task's
                        continue
                except DeadWorkerError:
                    stillborn += worker.never_began()
                    if stillborn > ALLOWED_DEATHS:
                        raise SourceError(_stillborn(worker.last_words())) from None
                    workers.remove(worker)
                    worker.kill()
                    worker.join()
                    watch.end(pipe)
                    if item.deaths < ALLOWED_DEATHS:
                        queue.again(item)
                        continue
                    result = lost(item.task, _died(item.deaths + 1))
                else:
                    idle.append(worker)
                watch.end(pipe)
                yield item.task, result
        in_order = True
    finally:
        # Whatever happened: nobody writes any more when this returns.
        for worker in workers:
            worker.dismiss() if in_order else worker.kill()
        for worker in workers:
            worker.join()


def _no_more(error: OSError, there: int) -> int:
    """Return how many workers to continue with if the machine starts no more.

    Raises
    ------
    SourceError
        There is none.
    """
    why = error.strerror or type(error).__name__
    if not there:
        raise SourceError(f"no worker process can be started ({why}); {_FEWER}") from None
    _LOG.warning("only %d worker processes can be started (%s); continuing with those", there, why)
    return there


def _stillborn(words: str) -> str:
    return f"worker processes end before they begin; the last one said: {words}\n  {_FEWER}"


def _died(times: int) -> str:
    return (
        f"its worker died {times} times, perhaps out of memory; build it alone (--only) on a "
        "machine with more memory"
    )
