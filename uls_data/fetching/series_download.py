"""Series of the IDC: listed, checked against what is pinned, copied, checked again, then named."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from uls_data.fetching.s5cmd import Copier, Event, Listed, list_objects
from uls_data.fetching.series_list import Series
from uls_data.fetching.wanted import Item, Outcome, Why, contents

# As much may be under way at a time: enough for a fast line, little to lose.
_WINDOW_BYTES, _WINDOW_FILES = 1 << 31, 1000
_LISTED_AT_ONCE = 64
_CHECKERS = 2
# So many series in a row that the store does not give: it gives none at present.
_PATIENCE = 10
_TRIES = 2
_STALLED_S, _LOOK_S = 600.0, 5.0
DISK_MARGIN_BYTES = 1 << 26
_DISK_WORDS = ("no space left", "disk quota exceeded", "file too large", "input/output error")


class Checked(NamedTuple):
    """A series that was looked at whole: what is wrong with its files, by name."""

    uuid: str
    wrong: dict[str, str]
    error: OSError | None


@dataclass
class _UnderWay:
    """A series whose files are being copied."""

    item: Item
    series: Series
    listed: Listed
    missing: set[str]
    errors: list[str] = field(default_factory=list)
    tries: int = 0


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
                    self._settle(event, copier, checkers)
                elif event.destination is None:
                    self._give_up(Why.UNREACHABLE, str(event.error))
                else:
                    self._arrived(event, checkers)
        for item in waiting:
            reason, detail = self._stop or (Why.NOT_TRIED, "")
            self._end(item, Outcome.FAILED, Why.NOT_TRIED, f"{reason}: {detail}")

    def _listed(self, items: list[Item]) -> Generator[Listed]:
        """List what the store has of each item, a group ahead of what is copied."""
        groups = [items[at : at + _LISTED_AT_ONCE] for at in range(0, len(items), _LISTED_AT_ONCE)]

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
            self._failed(item, *_read(listed.error, f"{series.url}/"))
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
            missing = _take_stock(folder, listed)
        except OSError as error:
            self._failed(item, Why.UNWRITABLE, f"{error.filename}: {error.strerror}")
            return
        here = _UnderWay(item, series, listed, missing)
        self._under_way[series.uuid] = here
        self.moved(sum(listed.objects[name].size for name in listed.objects.keys() - missing))
        self._copy(here, copier, checkers)

    def _in_the_way(self, item: Item) -> str | None:
        """Say what keeps a series from its place: nothing that is there is ever overwritten."""
        place = self.raw / item.path
        if not place.parent.resolve().is_relative_to(self.raw.resolve()):
            return f"{place.parent} leads out of --raw"
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            return f"{place} is no folder; move it away"
        if not place.exists():
            return None
        files, size = contents(place)
        return (
            f"{place} holds {files} files with {size} bytes, pinned are {item.files} with "
            f"{item.size_bytes}; move it away"
        )

    def _copy(self, here: _UnderWay, copier: Copier, checkers: ThreadPoolExecutor) -> None:
        here.tries += 1
        if here.missing:
            copier.copy(here.series.url, here.series.uuid)
        else:
            self._check(here, checkers)

    def _arrived(self, event: Event, checkers: ThreadPoolExecutor) -> None:
        """Note a file that came, or did not."""
        uuid, _, name = str(event.destination).partition("/")
        here = self._under_way.get(uuid)
        if here is None:
            return
        if event.error is None and name in here.missing:
            here.missing.discard(name)
            self.moved(here.listed.objects[name].size)
        elif event.error is not None:
            # Without a name it is about all of them.
            here.missing -= {name} if name else here.missing
            here.errors.append(f"{name}: {event.error}".removeprefix(": "))
        if here.missing:
            return
        if here.errors:
            reason, detail = _read(here.errors[0], f"{here.series.url}/")
            del self._under_way[uuid]
            self._failed(here.item, reason, detail)
        else:
            self._check(here, checkers)

    def _check(self, here: _UnderWay, checkers: ThreadPoolExecutor) -> None:
        folder = self.staging / here.series.uuid
        place = self.raw / here.item.path
        work = checkers.submit(_checked, here.series.uuid, folder, here.listed, place)
        work.add_done_callback(lambda done: self._events.put(done.result()))

    def _settle(self, checked: Checked, copier: Copier, checkers: ThreadPoolExecutor) -> None:
        """Take up what a look at a whole series found."""
        here = self._under_way.get(checked.uuid)
        if here is None:
            return
        if checked.error is not None:
            del self._under_way[checked.uuid]
            reason, detail = _read(str(checked.error), str(self.staging))
            reason = Why.DISK_FULL if reason == Why.DISK_FULL else Why.UNWRITABLE
            self._failed(here.item, reason, detail)
        elif not checked.wrong:
            del self._under_way[checked.uuid]
            self._in_a_row = 0
            self._end(here.item, Outcome.FETCHED)
        elif here.tries < _TRIES and self._stop is None:
            here.missing = set(checked.wrong)
            self.moved(-sum(here.listed.objects[name].size for name in checked.wrong))
            self._copy(here, copier, checkers)
        else:
            del self._under_way[checked.uuid]
            name, wrong = min(checked.wrong.items())
            self._failed(here.item, Why.DAMAGED, f"{here.series.url}/{name} {wrong}")

    def _failed(self, item: Item, reason: Why, detail: str) -> None:
        if reason == Why.DISK_FULL:
            self._stop = (reason, detail)
        self._in_a_row = self._in_a_row + 1 if reason == Why.UNREACHABLE else 0
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
        """Bytes that the series under way have on disk by now."""
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


def _read(message: str, where: str) -> tuple[Why, str]:
    """Why something failed, by what s5cmd or the operating system said."""
    said = " ".join(message.split())[:300]
    lower = said.lower()
    if any(words in lower for words in _DISK_WORDS):
        return Why.DISK_FULL, said
    if any(
        words in lower for words in ("no object found", "nosuchkey", "notfound", "nosuchbucket")
    ):
        return Why.MISSING, f"{where} is not there ({said}); the IDC may have moved it"
    if "expected files of plain names" in said:
        return Why.DIFFERENT, f"{where} {said}"
    return Why.UNREACHABLE, f"{where}: {said}"


def _take_stock(folder: Path, listed: Listed) -> set[str]:
    """Names of the files that a folder lacks; what else is there, such as halves, is removed.

    Raises
    ------
    OSError
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = set(listed.objects)
    with os.scandir(folder) as entries:
        for entry in entries:
            expected = listed.objects.get(entry.name)
            if (
                expected is not None
                and entry.is_file(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_size == expected.size
            ):
                missing.discard(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()
    return missing


def _checked(uuid: str, folder: Path, listed: Listed, place: Path) -> Checked:
    """Check each file of a series; give it its place if all are right, else remove the wrong ones.

    Sizes are compared, and MD5 sums where the store tells them.
    """
    wrong: dict[str, str] = {}
    try:
        for name, expected in sorted(listed.objects.items()):
            if difference := _difference(folder / name, expected.size, expected.md5):
                wrong[name] = difference
                (folder / name).unlink(missing_ok=True)
        strangers = {entry.name for entry in os.scandir(folder)} - listed.objects.keys()
        if strangers:
            wrong[min(strangers)] = "arrived, but was not listed"
        if not wrong:
            _sync(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(place)
            _sync(place.parent)
    except OSError as error:
        return Checked(uuid, wrong, error)
    return Checked(uuid, wrong, None)


def _difference(path: Path, size: int, md5: str | None) -> str | None:
    """Say what a file is instead of what it should be; None if it is right, and out on the disk."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return "did not arrive"
    with file:
        found = os.fstat(file.fileno()).st_size
        if found != size:
            return f"arrived with {found} bytes, expected {size}"
        if md5 is not None:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
            if digest.hexdigest() != md5:
                return f"arrived with the MD5 {digest.hexdigest()}, expected {md5}"
        os.fsync(file.fileno())
    return None


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
