"""Workers of a running dask cluster: they may come, go and die while a run lasts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from uls_data.engine.patience import Patience, Watch
from uls_data.engine.queue import ALLOWED_DEATHS, Item, Queue
from uls_data.errors import SourceError, UlsDataError

T = TypeVar("T")
R = TypeVar("R")
_CONNECT_S = 10
# How often the scheduler is asked which workers there are.
_LOOK_S = 2.0
_RESULT_S = 30
_NO_LIMIT = 1 << 62
_LOG = logging.getLogger("uls_data")


def run_on_cluster(
    address: str,
    function: Callable[[T], R],
    queue: Queue,
    lost: Callable[[T, str], R],
    patience: Patience[T, R] | None = None,
) -> Iterator[tuple[T, R]]:
    """Yield (task, result) as tasks end on the workers of a dask scheduler.

    Raises
    ------
    SourceError
        No scheduler answers, it went away, or its workers cannot do the work.
    """
    from distributed import Client
    from distributed.comm import resolve_address

    # What they tell of lost connections is said here, once, in plain words.
    for name in ("distributed", "distributed.client", "distributed.core", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").addFilter(_tells_more)
    try:
        # A client made with an address of no known kind would keep this process from ending.
        resolve_address(address)
        client = Client(address, timeout=f"{_CONNECT_S}s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"--scheduler {address}: no dask scheduler answers there ({error})"
        ) from error
    flow = _Flow(client, address, function, queue, lost, Watch(patience))
    try:
        yield from flow.results()
    finally:
        flow.end()


def _tells_more(record: logging.LogRecord) -> bool:
    """Keep back the traceback of a question that a lost scheduler left without an answer."""
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, OSError) or type(error).__module__.startswith("distributed"))


def _died(times: int) -> str:
    return (
        f"its worker died {times} times, perhaps out of memory; build it alone (--only) with a "
        "worker that has more memory"
    )


class _Flow:
    """Tasks on their way to workers, one at a time to each."""

    def __init__(
        self,
        client: Any,
        address: str,
        function: Callable[[Any], Any],
        queue: Queue,
        lost: Callable[[Any, str], Any],
        watch: Watch,
    ) -> None:
        self.client, self.address, self.function = client, address, function
        self.queue, self.lost, self.watch = queue, lost, watch
        # Workers that hang over a case that was stopped.
        self.hung: set[str] = set()
        self.running: dict[Any, tuple[str, Item]] = {}
        self.workers: dict[str, int] = {}
        self.given_up: list[Item] = []
        self.look_at = time.monotonic()
        self.waits = False

    def results(self) -> Iterator[tuple[Any, Any]]:
        while self.queue or self.running or self.given_up:
            if time.monotonic() >= self.look_at:
                self._look()
            while self.given_up:
                item = self.given_up.pop()
                yield item.task, self.lost(item.task, _died(item.deaths + 1))
            self._fill()
            ended = self._ended()
            yield from self._overdue(ended)
            for future in ended:
                _, item = self.running.pop(future)
                self.watch.end(future)
                try:
                    result = self._result(future, item)
                except TimeoutError:  # its worker died with the result
                    self._retry(item)
                    continue
                yield item.task, result

    def _overdue(self, ended: set[Any]) -> Iterator[tuple[Any, Any]]:
        """Give up tasks that take too long, and the workers that hang over them."""
        for future, late in self.watch.overdue():
            if future in ended:
                continue
            name, item = self.running.pop(future)
            self.watch.end(future)
            self.hung.add(name)
            self.client.cancel([future], force=True)
            yield item.task, late
        if self.queue and not self.running and self.workers and self.workers.keys() <= self.hung:
            raise SourceError(
                f"--scheduler {self.address}: all {len(self.workers)} workers hang over cases that "
                "were stopped. Restart them and run the same command again; finished cases are "
                "kept"
            )

    def _ended(self) -> set[Any]:
        """Tasks that ended meanwhile; waits a moment for one."""
        from distributed import wait

        if not self.running:
            time.sleep(_LOOK_S)
            return set()
        try:
            with self.client.as_current():
                ended: set[Any] = wait(
                    list(self.running), timeout=_LOOK_S, return_when="FIRST_COMPLETED"
                ).done
        except TimeoutError:
            return set()
        except (OSError, CancelledError, asyncio.CancelledError) as error:
            raise self._gone() from error
        return ended

    def _look(self) -> None:
        """See which workers there are now, and how much memory each has."""
        self.look_at = time.monotonic() + _LOOK_S
        found = self.client.scheduler_info(n_workers=-1)
        if self.client.status != "running":
            raise self._gone()
        self.workers = {
            name: int(worker["memory_limit"] or _NO_LIMIT)
            for name, worker in found["workers"].items()
        }
        # A task is bound to its worker: left to itself, the scheduler forgets such a task when all
        # workers are gone at once.
        lost = [
            (future, item)
            for future, (name, item) in self.running.items()
            if name not in self.workers and future.status != "finished"
        ]
        for future, item in lost:
            del self.running[future]
            self.watch.end(future)
            self.client.cancel([future], force=True)
            self._retry(item)
        if not self.workers and not self.waits:
            _LOG.warning("--scheduler %s: it has no worker yet; waiting for one", self.address)
        self.waits = not self.workers

    def _retry(self, item: Item) -> None:
        if item.deaths < ALLOWED_DEATHS:
            self.queue.again(item)
        else:
            self.given_up.append(item)

    def _fill(self) -> None:
        """Give every idle worker a task that fits into its memory."""
        at_work = {name for name, _ in self.running.values()} | self.hung
        largest = max(self.workers.values(), default=0)
        # The largest first, and it takes anything: what fits nowhere must not wait forever.
        for name in sorted(self.workers.keys() - at_work, key=lambda name: -self.workers[name]):
            limit = self.workers[name]
            item = self.queue.take(limit, alone=limit == largest)
            if item is not None:
                future = self.client.submit(self.function, item.task, pure=False, workers=[name])
                self.running[future] = name, item
                self.watch.begin(future, item.task)

    def _result(self, future: Any, item: Item) -> Any:
        from distributed import KilledWorker

        try:
            if future.status == "finished":
                return future.result(timeout=_RESULT_S)
            error = future.exception(timeout=_RESULT_S)
        except TimeoutError:
            raise
        except (OSError, CancelledError, asyncio.CancelledError) as gone:
            raise self._gone() from gone
        finally:
            future.release()
        if isinstance(error, KilledWorker):
            return self.lost(item.task, _died(getattr(error, "allowed_failures", 3) + 1))
        if isinstance(error, UlsDataError):
            raise error
        raise SourceError(
            f"--scheduler {self.address}: a worker cannot do the work "
            f"({type(error).__name__}: {error}). Workers need this version of uls-data and of "
            "Python, and the same paths."
        ) from error

    def _gone(self) -> SourceError:
        return SourceError(
            f"--scheduler {self.address}: the scheduler stopped answering. Start it and its "
            f"workers, and run the same command again; finished cases are kept."
        )

    def end(self) -> None:
        """Take back what has not begun, and leave the cluster as it is."""
        try:
            if self.running:
                self.client.cancel(list(self.running), force=True)
        except Exception:
            _LOG.debug("could not cancel tasks", exc_info=True)
        try:
            self.client.close(timeout=5)
        except Exception:
            _LOG.debug("could not close the client", exc_info=True)
