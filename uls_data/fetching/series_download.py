"""Series of the IDC: listed, checked against what is pinned, copied, checked again, then named."""

from __future__ import annotations

import shutil
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from uls_data.fetching.disk import disk_failure
from uls_data.fetching.s5cmd import Copier, Event, Listed, list_objects
from uls_data.fetching.series_list import Series
from uls_data.fetching.staged import difference_of, give_place, reason_of, take_stock
from uls_data.fetching.wanted import Item, Outcome, Why, contents

# As much may be under way at a time: enough for a fast line, little to lose.
_WINDOW_BYTES, _WINDOW_FILES = 1 << 31, 1000
# The first group is small, so that copies begin.
_LISTED_FIRST, _LISTED_AT_ONCE = 8, 64
# They wait for the disk, mostly.
_CHECKERS = 8
# After so many failures in a row, of the store or of the disk, no further series is tried.
_PATIENCE = 10
_TRIES = 2
_STALLED_S, _LOOK_S = 600.0, 5.0
DISK_MARGIN_BYTES = 1 << 26


class Checked(NamedTuple):
    """A file of a series that was looked at, or (without a name) the series that got its place."""

    uuid: str
    name: str
    wrong: str | None
    error: OSError | None


@dataclass
class _UnderWay:
    """A series whose files are being copied and checked.

    Attributes
    ----------
    left : set of str
        Files of which it is not known yet that they are right, or wrong.
    wrong : dict of str to str
        What is wrong with the others.
    errors : list of str
        What the store or the disk said.
    """

    item: Item
    series: Series
    listed: Listed
    left: set[str]
    wrong: dict[str, str] = field(default_factory=dict)
    errors: list[tuple[Why, str]] = field(default_factory=list)
    tries: int = 1


class SeriesDownloads:
    """Downloads of series below one raw root.

    Parameters
    ----------
    raw : Path
        Series get their names below it.
    staging : Path
        Folder on the same disk, where they are until they are whole, each by its uuid. What an
        earlier run left there is used.
    address : str
        Of the object store.
    ended : callable
        Called with each item that has its outcome.
    moved : callable
        Called with bytes that came in.
    """

    def __init__(
        self,
        raw: Path,
        staging: Path,
        address: str,
        ended: Callable[[Item], None],
        moved: Callable[[int], None],
    ) -> None:
        self.raw, self.staging, self.address = raw, staging, address
        self.ended, self.moved = ended, moved
        self._events: SimpleQueue[Event | Checked] = SimpleQueue()
        self._under_way: dict[str, _UnderWay] = {}
        self._in_a_row = 0
        self._stop: tuple[Why, str] | None = None

    def run(self, items: list[Item]) -> None:
        """Fetch them all; every item gets its outcome."""
        self.staging.mkdir(parents=True, exist_ok=True)
        listed = self._listed(items)
        waiting = deque(items)
        with (
            closing(listed),
            closing(Copier(self.staging, self.address, self._events)) as copier,
            ThreadPoolExecutor(_CHECKERS) as checkers,
        ):
            changed, seen = time.monotonic(), -1
            while (waiting and self._stop is None) or self._under_way:
                while waiting and self._stop is None and self._has_room(waiting[0]):
                    self._begin(waiting.popleft(), next(listed), copier, checkers)
                copier.flush()
                if not self._under_way:
                    continue
                try:
                    event = self._events.get(timeout=_LOOK_S)
                except Empty:
                    if (now := self._staged_bytes()) != seen:
                        changed, seen = time.monotonic(), now
                    elif time.monotonic() - changed > _STALLED_S:
                        self._give_up(Why.UNREACHABLE, f"nothing came in {_STALLED_S:.0f} s")
                    continue
                changed = time.monotonic()
                if isinstance(event, Checked):
                    self._checked(event, copier, checkers)
                elif event.destination is None:
                    self._give_up(Why.UNREACHABLE, str(event.error))
                else:
                    self._arrived(event, copier, checkers)
        for item in waiting:
            reason, detail = self._stop or (Why.NOT_TRIED, "")
            self._end(item, Outcome.FAILED, Why.NOT_TRIED, f"{reason}: {detail}")

    def _listed(self, items: list[Item]) -> Generator[Listed]:
        """List what the store has of each item, a group ahead of what is copied."""
        starts = [0, *range(_LISTED_FIRST, len(items), _LISTED_AT_ONCE), len(items)]
        groups = [items[start:stop] for start, stop in pairwise(starts)]

        def look(group: list[Item]) -> list[Listed]:
            urls = [_series(item).url for item in group]
            found = list_objects(urls, self.address)
            return [found[url] for url in urls]

        with ThreadPoolExecutor(1) as one:
            ahead: deque[Future[list[Listed]]] = deque()
            for group in groups:
                ahead.append(one.submit(look, group))
                if len(ahead) > 1:
                    yield from ahead.popleft().result()
            while ahead:
                yield from ahead.popleft().result()

    def _has_room(self, item: Item) -> bool:
        """Whether one more may be under way; stops it all where the disk has no room for it."""
        coming = sum(one.item.size_bytes for one in self._under_way.values())
        files = sum(one.item.files for one in self._under_way.values())
        if self._under_way and (
            coming + item.size_bytes > _WINDOW_BYTES or files + item.files > _WINDOW_FILES
        ):
            return False
        free = shutil.disk_usage(self.staging).free
        if free < item.size_bytes + DISK_MARGIN_BYTES:
            self._stop = (
                Why.DISK_FULL,
                f"{free / 1e6:.0f} MB are free, the next series has {item.size_bytes / 1e6:.0f} MB",
            )
            return False
        return True

    def _begin(
        self, item: Item, listed: Listed, copier: Copier, checkers: ThreadPoolExecutor
    ) -> None:
        series = _series(item)
        if listed.error is not None:
            self._failed(item, *reason_of(listed.error, series))
            return
        found = (len(listed.objects), sum(one.size for one in listed.objects.values()))
        if found != (series.files, series.size_bytes):
            self._failed(
                *(item, Why.DIFFERENT),
                f"{series.url}/ holds {found[0]} files with {found[1]} bytes, pinned are "
                f"{series.files} with {series.size_bytes}",
            )
            return
        folder = self.staging / series.uuid
        try:
            if problem := self._in_the_way(item):
                self._failed(item, Why.IN_THE_WAY, problem)
                return
            missing = take_stock(folder, listed)
        except OSError as error:
            self._failed(item, *disk_failure(error))
            return
        here = _UnderWay(item, series, listed, set(listed.objects))
        self._under_way[series.uuid] = here
        for name in sorted(listed.objects.keys() - missing):
            self.moved(listed.objects[name].size)
            self._check(here, name, checkers)
        if missing:
            copier.copy(series.url, series.uuid, rest=len(missing) < len(listed.objects))

    def _in_the_way(self, item: Item) -> str | None:
        """Say what keeps a series from its place: nothing that is there is ever overwritten."""
        place = self.raw / item.path
        if not place.parent.resolve().is_relative_to(self.raw.resolve()):
            return f"{place.parent} leads out of --raw"
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            return f"{place} is not a folder; move it away"
        if not place.exists():
            return None
        files, size = contents(place)
        return (
            f"{place} holds {files} files with {size} bytes, pinned are {item.files} with "
            f"{item.size_bytes}; move it away"
        )

    def _arrived(self, event: Event, copier: Copier, checkers: ThreadPoolExecutor) -> None:
        """Take up that a file came, or did not."""
        uuid, _, name = str(event.destination).partition("/")
        here = self._under_way.get(uuid)
        if here is None:
            return
        if event.error is None and name in here.left:
            self.moved(here.listed.objects[name].size)
            self._check(here, name, checkers)
        elif event.error is not None:
            # Without a name it is about all of them.
            here.left -= {name} if name else set(here.left)
            here.errors.append(reason_of(f"{name}: {event.error}".removeprefix(": "), here.series))
            self._settle(here, copier, checkers)

    def _check(self, here: _UnderWay, name: str, checkers: ThreadPoolExecutor) -> None:
        """Have a file looked at."""
        path, expected = self.staging / here.series.uuid / name, here.listed.objects[name]
        self._have(checkers, here.series.uuid, name, lambda: difference_of(path, expected))

    def _have(
        self, checkers: ThreadPoolExecutor, uuid: str, name: str, do: Callable[[], str | None]
    ) -> None:
        def work() -> None:
            try:
                self._events.put(Checked(uuid, name, do(), None))
            except OSError as error:
                self._events.put(Checked(uuid, name, None, error))

        checkers.submit(work)

    def _checked(self, checked: Checked, copier: Copier, checkers: ThreadPoolExecutor) -> None:
        """Take up what a look at a file found, or that a series has its place."""
        here = self._under_way.get(checked.uuid)
        if here is None:
            return
        here.left.discard(checked.name)
        if checked.error is not None:
            here.errors.append(disk_failure(checked.error))
        elif checked.wrong is not None:
            here.wrong[checked.name] = checked.wrong
        elif not checked.name:
            del self._under_way[checked.uuid]
            self._in_a_row = 0
            self._end(here.item, Outcome.FETCHED)
            return
        self._settle(here, copier, checkers)

    def _settle(self, here: _UnderWay, copier: Copier, checkers: ThreadPoolExecutor) -> None:
        """Give a series its place if all its files are right, another try, or up."""
        uuid = here.series.uuid
        if here.left:
            return
        if here.errors:
            del self._under_way[uuid]
            self._failed(here.item, *here.errors[0])
        elif not here.wrong:
            folder, place = self.staging / uuid, self.raw / here.item.path
            self._have(checkers, uuid, "", lambda: give_place(folder, here.listed, place))
        elif here.tries < _TRIES and self._stop is None and "" not in here.wrong:
            here.tries += 1
            here.left, here.wrong = set(here.wrong), {}
            self.moved(-sum(here.listed.objects[name].size for name in here.left))
            copier.copy(here.series.url, uuid, rest=True)
        else:
            del self._under_way[uuid]
            name, wrong = min(here.wrong.items())
            self._failed(here.item, Why.DAMAGED, f"{here.series.url}/{name} {wrong}")

    def _failed(self, item: Item, reason: Why, detail: str) -> None:
        if reason == Why.DISK_FULL:
            self._stop = (reason, detail)
        of_all = reason in (Why.UNREACHABLE, Why.UNWRITABLE)
        self._in_a_row = self._in_a_row + 1 if of_all else 0
        if self._in_a_row >= _PATIENCE:
            self._stop = (reason, f"{self._in_a_row} series in a row failed, the last: {detail}")
        self._end(item, Outcome.FAILED, reason, detail)

    def _give_up(self, reason: Why, detail: str) -> None:
        self._stop = (reason, detail)
        for here in self._under_way.values():
            self._end(here.item, Outcome.FAILED, reason, detail)
        self._under_way.clear()

    def _end(
        self, item: Item, outcome: Outcome, reason: Why | None = None, detail: str | None = None
    ) -> None:
        item.end(outcome, reason, detail)
        self.ended(item)

    def _staged_bytes(self) -> int:
        """Bytes that the series under way have on disk."""
        total = 0
        for uuid in self._under_way:
            for path in (self.staging / uuid).glob("*"):
                try:
                    total += path.stat().st_size
                except OSError:
                    continue
        return total


def _series(item: Item) -> Series:
    assert isinstance(item.pinned, Series)
    return item.pinned
