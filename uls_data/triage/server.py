"""A server for one curator, on this machine alone."""

from __future__ import annotations

import json
import secrets
import sys
from collections import Counter
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, urlsplit

from uls_data.errata import ErrataError
from uls_data.errors import SourceError, UlsDataError
from uls_data.manifest.schema import column_names
from uls_data.triage.listing import read_list
from uls_data.triage.outline import PLANES
from uls_data.triage.verdicts import ACCEPTED, NOTED, REJECTED, Subject, Verdict, Verdicts
from uls_data.triage.vois import WINDOWS_HU, Lesions
from uls_data.voi import VOI_SHAPE

HOST = "127.0.0.1"
_NAMES = {HOST, "localhost"}
_ASSETS = Path(__file__).parent / "assets"
_PAGES = {
    "/": ("triage.html", "text/html; charset=utf-8"),
    "/triage.css": ("triage.css", "text/css; charset=utf-8"),
    "/triage.js": ("triage.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_LONGEST_BODY = 4096
_STATES = {ACCEPTED: "a", REJECTED: "r", NOTED: "n"}
_UNDECIDED, _STALE = ".", "s"
_JSON = "application/json; charset=utf-8"


class _RefusalError(Exception):
    """An answer other than what was asked for."""

    def __init__(self, status: HTTPStatus, words: str) -> None:
        super().__init__(words)
        self.status = status


class TriageServer(ThreadingHTTPServer):
    """Serves the VOIs of a build and takes verdicts; closes with its context.

    Attributes
    ----------
    address : str
        To open in a browser, with the token.
    lesions : Lesions
    verdicts : Verdicts
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, lesions: Lesions, verdicts: Verdicts, port: int = 0) -> None:
        self.lesions, self.verdicts = lesions, verdicts
        self.token = secrets.token_urlsafe(24)
        # Of the images' addresses: a browser never shows one that it kept from an earlier run.
        self.run = secrets.token_hex(4)
        self.lock = Lock()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind without asking the network for this machine's name."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line what went wrong; a browser that goes away is nothing wrong."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            sys.stderr.write(f"triage: {type(error).__name__}: {error}\n")

    @property
    def address(self) -> str:  # noqa: D102
        return f"http://{HOST}:{self.server_port}/?token={self.token}"

    def counts(self) -> Counter[str]:
        """How many of the VOIs shown are accepted, rejected and noted."""
        states = Counter(self.states())
        return Counter({word: states[letter] for word, letter in _STATES.items()})

    def states(self) -> str:
        """One letter for each VOI."""
        with self.lock:
            verdicts = self.verdicts.all()
        letters = bytearray(_UNDECIDED.encode() * len(self.lesions))
        for key, number in self.lesions.numbers(verdicts).items():
            letters[number] = ord(_letter(verdicts[key], self.lesions.subject(number)))
        return letters.decode()

    def session(self) -> dict[str, Any]:
        """Return what the page asks for first."""
        return {
            "run": self.run,
            "states": self.states(),
            "shape": VOI_SHAPE,
            "planes": PLANES,
            "windows_hu": WINDOWS_HU,
            "overlay": str(self.verdicts.path),
            "author": self.verdicts.author,
        }

    def voi(self, number: int) -> dict[str, Any]:
        """One VOI, with its verdict."""
        voi = self.lesions.voi(number)
        subject = self.lesions.subject(number)
        with self.lock:
            verdict = self.verdicts.of(subject.key)
        told = {"state": _letter(verdict, subject), "note": verdict.note if verdict else ""}
        return {"number": number, "verdict": told, **voi.shown()}

    def judge(self, number: int, word: str | None, note: str | None) -> None:
        """Take a verdict; word `none` takes it away."""
        if word == "none":
            with self.lock:
                self.verdicts.clear(self.lesions.subject(number).key)
            return
        voi = self.lesions.voi(number)
        subject = voi.subject
        if subject is None:
            raise ErrataError(f"no verdict: {' '.join(voi.problems)}")
        with self.lock:
            self.verdicts.give(subject, word, note)

    def undo(self) -> int | None:
        """Take back the last verdict; returns the VOI's number, None where nothing is left."""
        with self.lock:
            key = self.verdicts.undo()
        if key is None:
            raise ErrataError("nothing to undo")
        return self.lesions.numbers([key]).get(key)


def _letter(verdict: Verdict | None, subject: Subject) -> str:
    if verdict is None:
        return _UNDECIDED
    return _STATES[verdict.word] if verdict.subject == subject else _STALE


class _Handler(BaseHTTPRequestHandler):
    """Answers those who know the token, from the page that this server gave."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "uls-data", ""
    # Seconds until a connection that says nothing is closed.
    timeout = 60
    server: TriageServer

    def do_GET(self) -> None:
        self._respond(self._get)

    def do_POST(self) -> None:
        self._respond(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: requests hold the token."""

    def _respond(self, answer: Any) -> None:
        try:
            self._check_origin()
            answer()
        except _RefusalError as refusal:
            # What was not read of the request cannot be told from the next one.
            self.close_connection = True
            self._send_json({"error": str(refusal)}, refusal.status)
        except UlsDataError as error:
            self._send_json({"error": str(error)}, HTTPStatus.CONFLICT)
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            self.close_connection = True
            words = f"{type(error).__name__}: {error}"
            self._send_json({"error": words}, HTTPStatus.INTERNAL_SERVER_ERROR)
            raise

    def _check_origin(self) -> None:
        host = self.headers.get("Host", "")
        name, _, port = host.rpartition(":")
        if name not in _NAMES or port != str(self.server.server_port):
            raise _RefusalError(HTTPStatus.FORBIDDEN, "this server answers on this machine alone")
        origin = self.headers.get("Origin")
        site = self.headers.get("Sec-Fetch-Site", "none")
        if origin not in (None, f"http://{host}") or site not in ("none", "same-origin"):
            raise _RefusalError(HTTPStatus.FORBIDDEN, "another page may not ask this server")

    def _check_token(self) -> None:
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(self._cookie)
        except CookieError:
            cookie = None
        if cookie is not None:
            given = cookie.value
        if not self._is_token(given):
            raise _RefusalError(
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
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "no address") from error
        asked = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if url.path == "/" and "token" in asked:
            self._enter(asked["token"])
            return
        self._check_token()
        if url.path in _PAGES:
            name, kind = _PAGES[url.path]
            self._send((_ASSETS / name).read_bytes(), kind)
            return
        match url.path.split("/"):
            case ["", "api", "session"]:
                self._send_json(self.server.session())
            case ["", "api", "order", column] if column in column_names():
                descending = asked.get("descending") == "1"
                self._send_json(self.server.lesions.order(column, descending=descending))
            case ["", "api", "columns"]:
                self._send_json(self.server.lesions.columns())
            case ["", "api", "names"]:
                self._send_json(self.server.lesions.named(asked.get("voi_id", "")))
            case ["", "api", "vois", number]:
                self._send_json(self.server.voi(self._number(number)))
            case ["", "slices", run, number, axis, index, window] if run == self.server.run:
                self._slice(self._number(number), axis, index, window)
            case _:
                raise _RefusalError(HTTPStatus.NOT_FOUND, "no such page")

    def _enter(self, token: str) -> None:
        if not self._is_token(token):
            raise _RefusalError(HTTPStatus.FORBIDDEN, "the token is of another run")
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        self.send_header(
            "Set-Cookie", f"{self._cookie}={self.server.token}; HttpOnly; SameSite=Strict; Path=/"
        )
        self._end({"Content-Length": "0", "Cache-Control": "no-store"})

    def _slice(self, number: int, axis: str, index: str, window: str) -> None:
        if axis not in ("0", "1", "2") or window not in WINDOWS_HU:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "no such slice")
        at = self._below(index, VOI_SHAPE[int(axis)])
        png = self.server.lesions.voi(number).png(int(axis), at, window)
        if png is None:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "no image")
        self._send(png, "image/png", "private, max-age=3600, immutable")

    def _post(self) -> None:
        self._check_token()
        body = self._body()
        if self.path == "/api/undo":
            self._send_json({"number": self.server.undo(), "states": self.server.states()})
        elif self.path == "/api/verdicts":
            number, word, note = (body.get(name) for name in ("number", "word", "note"))
            known = (None, "none", *_STATES)
            if (
                type(number) is not int
                or not 0 <= number < len(self.server.lesions)
                or word not in known
                or not isinstance(note, str | None)
            ):
                raise _RefusalError(HTTPStatus.BAD_REQUEST, "no verdict on a VOI shown here")
            self.server.judge(number, word, note)
            self._send_json({"number": number, "states": self.server.states()})
        else:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "no such page")

    def _body(self) -> dict[str, Any]:
        kind = self.headers.get_content_type()
        if kind != "application/json":
            raise _RefusalError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or "Transfer-Encoding" in self.headers:
            raise _RefusalError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if len(length) > 9 or int(length) > _LONGEST_BODY:
            raise _RefusalError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {_LONGEST_BODY} bytes"
            )
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "expected JSON") from error
        if not isinstance(body, dict):
            raise _RefusalError(HTTPStatus.BAD_REQUEST, "expected an object")
        return body

    def _number(self, text: str) -> int:
        return self._below(text, len(self.server.lesions))

    def _below(self, text: str, count: int) -> int:
        if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) >= count:
            raise _RefusalError(HTTPStatus.NOT_FOUND, "no such number")
        return int(text)

    def _send_json(self, content: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._send(json.dumps(content, allow_nan=False).encode(), _JSON, status=status)

    def _send(
        self, body: bytes, kind: str, cache: str = "no-store", status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        self._end({"Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": cache})
        self.wfile.write(body)

    def _end(self, headers: dict[str, str]) -> None:
        for name, value in (headers | _HEADERS).items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()


def triage_server(
    out: str | Path,
    where: str = "",
    *,
    sort: str | None = None,
    listed: str | Path | None = None,
    port: int = 0,
    overlay: str | Path | None = None,
    author: str = "curator",
) -> TriageServer:
    """Make a server that shows VOIs one by one and takes verdicts.

    It listens on 127.0.0.1 alone, and answers only those who know its token. Call `serve_forever`
    on it, and `server_close` in the end; it is a context manager.

    Parameters
    ----------
    out : path
        OUT folder of a build or archive, or one manifest of it.
    where : str
        As `query` takes it; of the layers that meet it the first one of a VOI is judged.
    sort : str, optional
        Manifest column; the smallest values come first.
    listed : path, optional
        CSV table: only its VOIs, in its order, see `read_list`.
    port : int
        0 takes a free one.
    overlay : path, optional
        Errata overlay for the verdicts; default: `errata/triage.yaml` below `out`.
    author : str
        Name or handle that signs; no address.

    Raises
    ------
    ManifestError
        Not a manifest or a list, or no mask meets the expression and the list.
    ErrataError
        The overlay is none, or the author cannot sign.
    SourceError
        The port is taken.
    """
    entries = None if listed is None else read_list(Path(listed))
    lesions = Lesions(Path(out), where, sort, entries)
    path = Path(overlay) if overlay is not None else lesions.root / "errata" / "triage.yaml"
    verdicts = Verdicts(path, author)
    try:
        return TriageServer(lesions, verdicts, port)
    except OSError as error:
        raise SourceError(f"--port {port}: {error.strerror}") from error
