"""s5cmd, which lists and copies objects of S3: one process that is told what to copy as it goes."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

from uls_data.errors import SourceError
from uls_data.recipe.pinned import LOOPBACK

ENDPOINT = "https://s3.amazonaws.com"
ENDPOINT_VARIABLE = "ULS_DATA_S3_ENDPOINT"
NEEDS = "downloads need {}: pip install 'uls-data[fetch]'"
# It ends with us, however we end: else it would keep writing while the next run begins.
_LAUNCH = (
    "import ctypes, os, signal, sys; "
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)
_RETRIES = 10
_PIPE_BYTES = 1 << 20
_LIST_S = 900
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_MD5 = re.compile(r"[0-9a-f]{32}")


class Object(NamedTuple):
    """A file of a series: its size in bytes, and its MD5 where the store tells it."""

    size: int
    md5: str | None


class Listed(NamedTuple):
    """What lies at the address of a series: its files by name; or what was said instead."""

    objects: dict[str, Object]
    error: str | None


class Event(NamedTuple):
    """What s5cmd says: a copy that ended (`error` is None if well), or its own end (no copy)."""

    destination: str | None
    error: str | None


def endpoint() -> str:
    """Address of the object store.

    Raises
    ------
    SourceError
        The variable names one that is neither https nor on this machine.
    """
    address = os.environ.get(ENDPOINT_VARIABLE) or ENDPOINT
    parts = urlsplit(address)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise SourceError(f"{ENDPOINT_VARIABLE}={address}: expected an address with https://")
    return address


def program() -> str:
    """Path of s5cmd: the package's, else the machine's.

    Raises
    ------
    SourceError
        There is none.
    """
    with suppress(PackageNotFoundError):
        for file in distribution("s5cmd").files or []:
            path = Path(str(file.locate()))
            if path.parent.name == "bin" and path.stem == "s5cmd" and file.parts[0] == "s5cmd":
                return str(path)
    found = shutil.which("s5cmd")
    if found is None:
        raise SourceError(NEEDS.format("s5cmd"))
    return found


def _command(address: str) -> list[str]:
    launch = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid())]
    options = ["--no-sign-request", "--endpoint-url", address, "--json"]
    options += ["--retry-count", str(_RETRIES)]
    return [*launch, program(), *options, "run"]


def list_objects(urls: list[str], address: str) -> dict[str, Listed]:
    """List what lies right below each of several addresses `s3://bucket/folder`.

    A file whose name could mean something else to a disk or to s5cmd is an error of its series.
    """
    lines = "".join(f"ls --etag {url}/*\n" for url in urls)
    objects: dict[str, dict[str, Object]] = {url: {} for url in urls}
    errors: dict[str, str] = {}
    try:
        ended = subprocess.run(
            _command(address), input=lines.encode(), capture_output=True, timeout=_LIST_S
        )
    except subprocess.TimeoutExpired:
        return {url: Listed({}, f"no answer in {_LIST_S} s") for url in urls}
    if ended.returncode < 0:
        return {url: Listed({}, f"s5cmd was ended by signal {-ended.returncode}") for url in urls}
    for message in _messages(ended.stdout.splitlines()):
        url, _, name = str(message.get("key")).rpartition("/")
        of = next((one for one in (url, *_folders_above(url)) if one in objects), None)
        if of is None:
            continue
        size, etag = message.get("size"), message.get("etag")
        if of != url or not _SAFE_NAME.fullmatch(name) or message.get("type") != "file":
            errors[of] = f"holds {str(message.get('key'))[:200]!r}, expected files of plain names"
        elif isinstance(size, int):
            md5 = etag if isinstance(etag, str) and _MD5.fullmatch(etag) else None
            objects[of][name] = Object(size, md5)
    for message in _messages(ended.stderr.splitlines()):
        url = str(message.get("command", "")).removeprefix("ls ").removesuffix("/*")
        errors.setdefault(url, str(message.get("error")))
    general = ended.stderr.decode(errors="replace").strip()[-300:]
    for url in urls:
        if not objects[url] and url not in errors:
            errors[url] = general or "no object found"
    return {url: Listed(objects[url], errors.get(url)) for url in urls}


def _folders_above(url: str) -> Iterator[str]:
    while url.count("/") > 3:
        url = url.rpartition("/")[0]
        yield url


def _messages(lines: list[bytes] | IO[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError, RecursionError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message


class Copier:
    """A running s5cmd that copies what it is told, into one folder.

    Parameters
    ----------
    folder : Path
        Destinations are relative to it.
    address : str
        Of the object store.

    Attributes
    ----------
    events : SimpleQueue of Event
        What it says; the owner may put events of its own there.
    """

    def __init__(self, folder: Path, address: str, events: SimpleQueue[Any]) -> None:
        self.events = events
        self._process = subprocess.Popen(
            _command(address),
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with suppress(OSError, AttributeError):
            # Room for all that may be under way, so that telling it never waits.
            fcntl.fcntl(self._pipe(0), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._said = ""
        self._readers = [
            threading.Thread(target=read, daemon=True) for read in (self._copied, self._failed)
        ]
        for reader in self._readers:
            reader.start()

    def copy(self, url: str, folder: str, *, rest: bool) -> None:
        """Copy what lies below `url`; an event tells the end of each file.

        No key leads up, whatever the store says in the meantime.

        Parameters
        ----------
        rest : bool
            Only what is not in `folder` yet. It costs a question for each file.
        """
        what = "cp -n" if rest else "cp"
        with suppress(BrokenPipeError):  # it says so itself
            self._pipe(0).write(f'{what} --exclude "*..*" {url}/* {folder}/\n'.encode())

    def flush(self) -> None:
        """Hand over what was said so far."""
        with suppress(BrokenPipeError):
            self._pipe(0).flush()

    def close(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join()
        for number in range(3):
            with suppress(BrokenPipeError):
                self._pipe(number).close()

    def _pipe(self, number: int) -> IO[bytes]:
        pipe = (self._process.stdin, self._process.stdout, self._process.stderr)[number]
        assert pipe is not None
        return pipe

    def _copied(self) -> None:
        for message in _messages(self._pipe(1)):
            if message.get("success") is True:
                self.events.put(Event(str(message.get("destination")), None))
        self._readers[1].join()
        self.events.put(Event(None, self._said or "s5cmd ended"))

    def _failed(self) -> None:
        for line in self._pipe(2):
            destination = None
            for message in _messages([line]):
                destination = str(message.get("command", "")).rpartition(" ")[2]
                self.events.put(Event(destination or None, str(message.get("error"))))
            if destination is None:
                self._said = line.decode(errors="replace").strip()[-300:]
