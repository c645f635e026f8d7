"""Worker processes on this machine, each with a pipe of its own.

No lock or queue is shared, so a worker may die at any instant without harm to the
others; its end closes its pipe, which tells us whose task it had. Workers end at
once when this process does, however it does.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, resource_tracker
from pathlib import Path
from typing import Any, TypeVar

from uls_data.engine.memory import free_memory, limit_memory, trim_memory
from uls_data.engine.patience import LOOK_S, Patience, Watch
from uls_data.engine.queue import ALLOWED_DEATHS, Item, Queue
from uls_data.errors import SourceError

T = TypeVar("T")
R = TypeVar("R")
_STOPS = (signal.SIGINT, signal.SIGTERM)
_END_S = 5.0
_NOT_STARTED = (
    "worker processes end before they begin (their own messages stand above). A script that uses "
    'workers must do its work below `if __name__ == "__main__":`, or take workers=0'
)


def run_in_processes(
    places: int,
    function: Callable[[T], R],
    queue: Queue,
    lost: Callable[[T, str], R],
    patience: Patience[T, R] | None = None,
) -> Iterator[tuple[T, R]]:
    """Yield (task, result) as tasks end in `places` processes."""
    watch = Watch(patience)
    limit_bytes = free_memory()
    workers: set[_Worker] = set()
    idle: list[_Worker] = []
    busy: dict[connection.Connection, tuple[_Worker, Item]] = {}
    in_order = False
    stillborn = 0
    try:
        while queue or busy:
            while len(workers) < min(places, len(busy) + len(queue)):
                worker = _Worker(function, limit_bytes)
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
                    if result is _HERE:
                        worker.here = True
                        busy[pipe] = worker, item
                        continue
                except _DeadError:
                    stillborn += worker.never_began()
                    if stillborn > ALLOWED_DEATHS:
                        raise SourceError(_NOT_STARTED) from None
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


def _died(times: int) -> str:
    return (
        f"its worker died {times} times, as when memory runs out; build it alone (--only) on a "
        "machine with more memory"
    )


class _DeadError(Exception):
    """The worker is gone, and with it the result of its task."""


class _HERE:
    """First word of a worker; a class, for it is the same thing on both ends of a pipe."""


class _Worker:
    here = False

    def __init__(self, function: Callable[[Any], Any], limit_bytes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, function, limit_bytes), daemon=True, name="uls-data worker"
        )
        with _stops_held():
            self._process.start()
        theirs.close()

    def begin(self, task: Any) -> None:
        # If it is dead already, the result says so.
        with suppress(OSError):
            self.pipe.send(task)

    def result(self) -> Any:
        try:
            worked, result = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            raise _DeadError from error
        if not worked:
            raise result
        return result

    def never_began(self) -> bool:
        """Whether a dead worker ended of itself (nobody killed it) before its first word."""
        if self.here:
            return False
        self._process.join(_END_S)
        code = self._process.exitcode
        return code is not None and code >= 0

    def dismiss(self) -> None:
        self.pipe.close()

    def kill(self) -> None:
        self._process.kill()
        self.pipe.close()

    def join(self) -> None:
        self._process.join(_END_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


@contextmanager
def _stops_held() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while a process starts; they are answered afterwards.

    A new interpreter would answer them with a traceback of its own: it inherits the
    mask. Here another thread may receive them all the same, so they are kept, too.
    """
    resource_tracker.ensure_running()  # it would let them through
    kept: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {n: signal.signal(n, lambda number, _: kept.append(number)) for n in _STOPS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        for one in kept:
            signal.raise_signal(one)


def _serve(pipe: connection.Connection, function: Callable[[Any], Any], limit_bytes: int) -> None:
    """Work off tasks until the other end closes."""
    # Ctrl-C reaches the whole group: it is answered once, by the process that started us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Should memory run out all the same, a worker shall die, not the run.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    limit_memory(limit_bytes)
    with suppress(OSError):
        pipe.send((True, _HERE))
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        answer: tuple[bool, Any]
        try:
            answer = True, function(task)
        except Exception as error:
            answer = False, _sendable(error)
        del task
        try:
            pipe.send(answer)
        except OSError:
            return
        del answer
        trim_memory()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return SourceError(f"{type(error).__name__}: {error}")
    return error
