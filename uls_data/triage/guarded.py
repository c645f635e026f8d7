"""A server for one person, on this machine only: it answers those who know its token.

Its subclasses say what it shows and what it takes.
"""

from __future__ import annotations

import json
import secrets
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import Lock
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from uls_data.errors import SourceError, UlsDataError

HOST = "127.0.0.1"
HTML, CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"
SCRIPT, SVG = "text/javascript; charset=utf-8", "image/svg+xml"
# What every page has.
COMMON = {
    "/triage.css": ("triage.css", CSS),
    "/common.js": ("common.js", SCRIPT),
    "/icon.svg": ("icon.svg", SVG),
}
_NAMES = {HOST, "localhost"}
_ASSETS = Path(__file__).parent / "assets"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_JSON = "application/json; charset=utf-8"


class RefusalError(Exception):
    """An answer other than what was asked for."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status


class GuardedServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1 only, and answers requests with its token; closes with its context.

    Attributes
    ----------
    address : str
        To open in a browser, with the token.
    run : str
        Of the images' addresses: a browser never shows one that it kept from an earlier run.
    lock : Lock
        For what several requests may change.

    Raises
    ------
    SourceError
        The port is taken.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: type[GuardedHandler], port: int = 0) -> None:
        self.token = secrets.token_urlsafe(24)
        self.run = secrets.token_hex(4)
        self.lock = Lock()
        try:
            super().__init__((HOST, port), handler)
        except OSError as error:
            raise SourceError(f"--port {port}: {error.strerror}") from error

    def server_bind(self) -> None:
        """Bind without asking the network for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line what went wrong; a browser that goes away is not an error."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            sys.stderr.write(f"triage: {type(error).__name__}: {error}\n")

    @property
    def address(self) -> str:  # noqa: D102
        return f"http://{HOST}:{self.server_port}/?token={self.token}"


class GuardedHandler(BaseHTTPRequestHandler, ABC):
    """Answers those who know the token, from the page that this server gave."""

    pages: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Files below `assets`, and their types, by path."""

    longest_body: ClassVar[int] = 4096
    """Bytes of a POST."""

    longer_bodies: ClassVar[Mapping[str, int]] = {}
    """Bytes of a POST to paths that take more."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "uls-data", ""
    # Seconds until a connection that says nothing is closed.
    timeout = 60
    server: GuardedServer

    def do_GET(self) -> None:  # noqa: D102
        self._respond(self._get)

    def do_POST(self) -> None:  # noqa: D102
        self._respond(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests hold the token."""

    def _respond(self, answer: Any) -> None:
        try:
            self._check_origin()
            answer()
        except RefusalError as refusal:
            # What was not read of the request cannot be told from the next one.
            self.close_connection = True
            self.send_json({"error": str(refusal)}, refusal.status)
        except UlsDataError as error:
            self.send_json({"error": str(error)}, HTTPStatus.CONFLICT)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            self.close_connection = True
            words = f"{type(error).__name__}: {error}"
            self.send_json({"error": words}, HTTPStatus.INTERNAL_SERVER_ERROR)
            raise

    def _check_origin(self) -> None:
        host = self.headers.get("Host", "")
        name, _, port = host.rpartition(":")
        if name not in _NAMES or port != str(self.server.server_port):
            raise RefusalError(HTTPStatus.FORBIDDEN, "this server accepts local connections only")
        origin = self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "none")
        if self._is_link(origin):
            return
        if origin not in (None, f"http://{host}") or site not in ("none", "same-origin"):
            raise RefusalError(HTTPStatus.FORBIDDEN, "another page may not ask this server")

    def _is_link(self, origin: str | None) -> bool:
        """Whether somebody follows a link of another page, such as a report, to the page itself.

        A browser then keeps the cookie back. The page holds no data, cannot be framed or read by
        the other one, and asks with the cookie for all that it shows.
        """
        asked = (self.headers.get(f"Sec-Fetch-{name}") for name in ("Site", "Mode", "Dest"))
        followed = [*asked] == ["cross-site", "navigate", "document"]
        return followed and self.command == "GET" and self.path == "/" and origin is None

    def _check_token(self) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie)
        except CookieError:
            cookie = None
        if cookie is not None:
            given = cookie.value
        if not self._is_token(given):
            raise RefusalError(
                HTTPStatus.FORBIDDEN, "open the whole address that `uls-data triage` printed"
            )

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.server.token.encode())

    @property
    def _cookie(self) -> str:
        # Cookies do not know ports: two servers need two names.
        return f"triage_{self.server.server_port}"

    def _get(self) -> None:
        try:
            url = urlsplit(self.path)
        except ValueError as error:
            raise RefusalError(HTTPStatus.BAD_REQUEST, "no address") from error
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/" and "token" in asked:
            self._enter(asked["token"])
            return
        if not self._is_link(self.headers.get("Origin")):
            self._check_token()
        if url.path in self.pages:
            name, kind = self.pages[url.path]
            self.send_content((_ASSETS / name).read_bytes(), kind)
            return
        self.answer(url.path, asked)

    @abstractmethod
    def answer(self, path: str, asked: Mapping[str, str]) -> None:
        """Answer a GET from somebody who may ask.

        Raises
        ------
        RefusalError, UlsDataError
        """

    @abstractmethod
    def take(self, path: str, body: dict[str, Any]) -> None:
        """Answer a POST from somebody who may ask; raises as `answer`."""

    def _enter(self, token: str) -> None:
        if not self._is_token(token):
            raise RefusalError(HTTPStatus.FORBIDDEN, "the token belongs to another run")
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        self.send_header(
            "Set-Cookie", f"{self._cookie}={self.server.token}; HttpOnly; SameSite=Strict; Path=/"
        )
        self._end({"Content-Length": "0", "Cache-Control": "no-store"})

    def _post(self) -> None:
        self._check_token()
        self.take(self.path, self._body())

    def _body(self) -> dict[str, Any]:
        kind = self.headers.get_content_type()
        if kind != "application/json":
            raise RefusalError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or "Transfer-Encoding" in self.headers:
            raise RefusalError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        most = self.longer_bodies.get(self.path, self.longest_body)
        if len(length) > 9 or int(length) > most:
            raise RefusalError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {most} bytes"
            )
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise RefusalError(HTTPStatus.BAD_REQUEST, "expected JSON") from error
        if not isinstance(body, dict):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "expected an object")
        return body

    @staticmethod
    def below(text: str, count: int) -> int:
        """Whole number of an address, from 0 to count - 1."""
        if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) >= count:
            raise RefusalError(HTTPStatus.NOT_FOUND, "no such number")
        return int(text)

    def send_json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Answer with JSON."""
        self.send_content(json.dumps(content, allow_nan=False).encode(), _JSON, status=status)

    def send_content(
        self, body: bytes, kind: str, cache: str = "no-store", status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        """Answer with a file."""
        self.send_response(status)
        self._end({"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": cache})
        self.wfile.write(body)

    def _end(self, headers: dict[str, str]) -> None:
        for name, value in (headers | _HEADERS).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
