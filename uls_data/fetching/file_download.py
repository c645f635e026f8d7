"""Single files by their address: continued where they stopped, hashed, then named."""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any
from urllib.parse import urljoin, urlsplit

from uls_data.errors import SourceError
from uls_data.fetching.disk import disk_failure
from uls_data.fetching.s5cmd import NEEDS
from uls_data.fetching.wanted import RIGHT_FILES, Item, Outcome, Why, part_of, right_file
from uls_data.io.journal import Journal
from uls_data.recipe.pinned import LOOPBACK, PinnedFile

LOOPBACK_VARIABLE = "ULS_DATA_FETCH_LOOPBACK"
_AT_ONCE = 4
_TRIES, _PAUSE_S = 3, 1.0
_TIMEOUT_S = (30, 120)
_CHUNK_BYTES = 1 << 16
_GONE, _NO_SUCH_RANGE = (404, 410), 416


class _WrongError(Exception):
    """What arrived is not what is pinned."""

    reason = Why.DAMAGED


class _ElsewhereError(_WrongError):
    """The address leads to one that is not allowed."""

    reason = Why.UNREACHABLE


class _InterruptedError(Exception):
    """The run ends."""


class FileDownloads:
    """Downloads of single files below one raw root; parameters as of `SeriesDownloads`.

    Files whose hash was found right are written down in the staging folder, with size and time, so
    that they are not hashed again.
    """

    def __init__(
        self,
        raw: Path,
        staging: Path,
        ended: Callable[[Item], None],
        moved: Callable[[int], None],
    ) -> None:
        self.raw, self.staging = raw, staging
        self.ended, self.moved = ended, moved
        self._right = Journal(staging / RIGHT_FILES)
        self._one_at_a_time = threading.Lock()
        self._ends = threading.Event()

    def run(self, items: list[Item]) -> None:
        """Fetch them all; every item gets its outcome.

        Raises
        ------
        SourceError
            The libraries are absent, or an address is one that only tests may use.
        """
        try:
            import pooch
        except ModuleNotFoundError as error:
            raise SourceError(NEEDS.format("pooch")) from error
        for item in items:
            try:
                _check_address(_pinned(item).url)
            except _ElsewhereError as error:
                raise SourceError(f"{item.path}: its address {error}") from error
        pooch.get_logger().setLevel(logging.CRITICAL)
        self.staging.mkdir(parents=True, exist_ok=True)
        several = ThreadPoolExecutor(_AT_ONCE)
        try:
            for item in several.map(self._fetch, items):
                self.ended(item)
        finally:
            self._ends.set()
            several.shutdown(cancel_futures=True)
            self._right.close()

    def _fetch(self, item: Item) -> Item:
        from requests import RequestException

        pinned = _pinned(item)
        place = self.raw / pinned.path
        try:
            if place.parent.resolve().is_relative_to(self.raw.resolve()):
                self._download(pinned, place)
                item.end(Outcome.FETCHED)
            else:
                item.end(Outcome.FAILED, Why.IN_THE_WAY, f"{place.parent} leads out of --raw")
        except _WrongError as error:
            item.end(Outcome.FAILED, error.reason, f"{pinned.url} {error}")
        except _InterruptedError:
            item.end(Outcome.FAILED, Why.NOT_TRIED, "interrupted")
        except RequestException as error:
            reason = Why.MISSING if _status(error) in _GONE else Why.UNREACHABLE
            item.end(Outcome.FAILED, reason, " ".join(str(error).split())[:300])
        except FileExistsError as error:
            item.end(Outcome.FAILED, Why.IN_THE_WAY, f"{place}: {error.strerror}")
        except OSError as error:
            item.end(Outcome.FAILED, *disk_failure(error, pinned.path))
        return item

    def _download(self, pinned: PinnedFile, place: Path) -> None:
        from requests import RequestException

        for left in reversed(range(_TRIES)):
            try:
                staged = self._try(pinned)
                break
            except (_WrongError, RequestException) as error:
                status = _status(error)
                if status == _NO_SUCH_RANGE:
                    part_of(self.staging, pinned).unlink(missing_ok=True)
                hopeless = isinstance(error, _ElsewhereError) or status in (401, 403, *_GONE)
                if not left or hopeless:
                    raise
                self._ends.wait(_PAUSE_S)
        place.parent.mkdir(parents=True, exist_ok=True)
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        if os.path.lexists(place):  # since the plan was made
            raise FileExistsError(errno.EEXIST, "came while it was downloaded; move it away")
        staged.rename(place)
        with self._one_at_a_time:
            self._right.add(list(right_file(pinned, place)))

    def _try(self, pinned: PinnedFile) -> Path:
        """Download the rest of a file; returns where it is, whole and with the right hash."""
        import pooch

        came = 0

        def moved(size: int) -> None:
            nonlocal came
            came += size
            self.moved(size)

        part = part_of(self.staging, pinned)
        continued = _Continued(part, pinned.size_bytes, moved, self._ends)
        try:
            fetched = pooch.retrieve(
                pinned.url,
                f"sha256:{pinned.sha256}",
                fname=part.stem,
                path=self.staging,
                downloader=continued,
            )
        except ValueError as error:
            self.moved(-came)
            found = re.findall(r"\b[0-9a-f]{64}\b", str(error))
            raise _WrongError(
                f"arrived with the SHA-256 {found[-1] if found else error}, "
                f"expected {pinned.sha256}"
            ) from error
        except BaseException:
            self.moved(-came)
            raise
        return Path(fetched)


def _pinned(item: Item) -> PinnedFile:
    assert isinstance(item.pinned, PinnedFile)
    return item.pinned


def _status(error: BaseException) -> int | None:
    """HTTP status that an error is about."""
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


class _Continued:
    """A downloader for pooch that continues where an earlier one stopped."""

    def __init__(
        self, part: Path, size_bytes: int, moved: Callable[[int], None], ends: threading.Event
    ) -> None:
        self.part, self.size_bytes, self.moved, self.ends = part, size_bytes, moved, ends

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        import pooch

        have = self.part.stat().st_size if self.part.exists() else 0
        if have > self.size_bytes:
            self.part.unlink()
            have = 0
        self.moved(have)
        if have < self.size_bytes:
            headers = {"Accept-Encoding": "identity"}
            if have:
                headers["Range"] = f"bytes={have}-"
            with self.part.open("r+b" if have else "wb") as file:
                file.seek(have)
                download = pooch.HTTPDownloader(
                    chunk_size=_CHUNK_BYTES,
                    headers=headers,
                    timeout=_TIMEOUT_S,
                    hooks={"response": lambda answer, **_: _judge(answer, file, have, self.moved)},
                )
                download(url, _Counted(self, file), None)
            have = self.part.stat().st_size
        if have != self.size_bytes:
            raise _WrongError(f"ended after {have} bytes, expected {self.size_bytes}")
        self.part.replace(output_file)


def _judge(answer: Any, file: IO[bytes], have: int, moved: Callable[[int], None]) -> None:
    """Refuse redirections to other than https; start over if the server sends it all."""
    if answer.is_redirect:
        _check_address(urljoin(answer.url, answer.headers["location"]))
    elif answer.status_code == 200 and have:
        file.seek(0)
        file.truncate()
        moved(-have)


def _check_address(url: str) -> None:
    """Refuse an address that is neither https nor, where that is allowed, on this machine.

    Raises
    ------
    _ElsewhereError
    """
    parts = urlsplit(url)
    local = parts.hostname in LOOPBACK and os.environ.get(LOOPBACK_VARIABLE) == "1"
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise _ElsewhereError(f"leads to {url[:200]}, which is not https")


class _Counted:
    """A file that takes no more bytes than are pinned."""

    def __init__(self, owner: _Continued, file: IO[bytes]) -> None:
        self.owner, self.file = owner, file

    def write(self, data: bytes) -> int:
        if self.owner.ends.is_set():
            raise _InterruptedError
        if self.file.tell() + len(data) > self.owner.size_bytes:
            self.owner.part.unlink()
            raise _WrongError(f"has more than the {self.owner.size_bytes} bytes that are pinned")
        self.owner.moved(len(data))
        return self.file.write(data)

    def flush(self) -> None:
        """Nothing: the file is flushed when it is closed."""
