"""A proxy before a server, which spoils answers."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from makers.serving import running


@dataclass
class Proxy:
    """What stands before a server: counts what is asked for, and spoils what it is told to.

    Attributes
    ----------
    asked : Counter of str
        Paths of GET requests.
    sent : Counter of str
        Paths whose body went out whole.
    spoil : dict
        Regular expressions of paths, and what to do with the answer: a function of status, headers
        and body that returns others. Each spoils as often as `times` says.
    """

    port: int
    asked: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    spoil: dict[str, Spoil] = field(default_factory=dict)
    ranges: list[str | None] = field(default_factory=list)
    knows_ranges: bool = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def clear(self) -> None:
        self.asked.clear()
        self.sent.clear()
        self.spoil.clear()
        self.ranges.clear()
        self.knows_ranges = True


@dataclass
class Spoil:
    """How answers are spoiled, and how often."""

    answer: Callable[[int, dict[str, str], bytes], tuple[int, dict[str, str], bytes]]
    times: int = 1


def flipped(status: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """One byte is another one."""
    return status, headers, body[:-1] + bytes([body[-1] ^ 1])


def cut(status: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """The connection breaks half-way."""
    return status, headers, body[: len(body) // 2]


def busy(_status: int, _headers: dict[str, str], _body: bytes) -> tuple[int, dict[str, str], bytes]:
    """The server says that it is busy."""
    return 503, {"Content-Length": "0"}, b""


def slow(seconds: float) -> Spoil:
    """Every answer takes its time."""

    def answer(
        status: int, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        time.sleep(seconds)
        return status, headers, body

    return Spoil(answer, 1_000_000)


@contextmanager
def proxy(to_port: int) -> Iterator[Proxy]:
    """Run a proxy before a server."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            there = HTTPConnection("127.0.0.1", to_port, timeout=30)
            headers = dict(self.headers.items())
            if not here.knows_ranges:
                headers.pop("Range", None)
            there.request(self.command, self.path, headers=headers)
            answer = there.getresponse()
            status, body = answer.status, answer.read()
            headers = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("connection", "transfer-encoding", "date", "server")
            }
            there.close()
            with lock:
                if self.command == "GET":
                    here.asked[path] += 1
                    here.ranges.append(self.headers.get("Range"))
                for pattern, spoil in here.spoil.items():
                    if self.command == "GET" and spoil.times and re.search(pattern, self.path):
                        spoil.times -= 1
                        break
                else:
                    spoil = None
            if spoil is not None:
                status, headers, body = spoil.answer(status, headers, body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "content-length" not in {name.lower() for name in headers}:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            promised = next(
                (int(v) for k, v in headers.items() if k.lower() == "content-length"), len(body)
            )
            try:
                if self.command == "GET":
                    self.wfile.write(body)
            except OSError:
                self.close_connection = True
                return
            if len(body) < promised and self.command == "GET":
                self.close_connection = True
            else:
                with lock:
                    here.sent[path] += 1

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    here = Proxy(server.server_port)
    with running(server):
        yield here
