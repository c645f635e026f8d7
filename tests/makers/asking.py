"""Who asks a server of this machine: a client that speaks HTTP, and strangers."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit


class Client:
    """Speaks HTTP to a server; knows the token unless told otherwise."""

    def __init__(self, address: str) -> None:
        url = urlsplit(address)
        self.port = url.port or 0
        self.token = url.query.removeprefix("token=")

    def ask(
        self, path: str, body: Any = None, *, method: str = "", **headers: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        sent: dict[str, str | None] = {"Authorization": f"Bearer {self.token}"}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            kept = {name: value for name, value in sent.items() if value is not None}
            connection.request(method or ("POST" if data is not None else "GET"), path, data, kept)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def json(self, path: str, body: Any = None) -> Any:
        status, _, data = self.ask(path, body)
        assert status == 200, data
        return json.loads(data)

    def raw(self, path: str) -> bytes:
        """Answer to a GET of a path as it stands, which no library has tidied."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(
                b"GET "
                + path.encode()
                + b" HTTP/1.1\r\nConnection: close\r\n"
                + f"Host: 127.0.0.1:{self.port}\r\n".encode()
                + f"Authorization: Bearer {self.token}\r\n\r\n".encode()
            )
            return b"".join(iter(lambda: connection.recv(65536), b""))


STRANGE: list[dict[str, str | None]] = [
    {"Authorization": None},
    {"Authorization": "Bearer wrong"},
    {"Authorization": None, "Cookie": "triage=x; triage_1=y"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://example.org"},
    {"Origin": "null"},
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Host": "example.org"},
    {"Host": "127.0.0.1"},
    {"Host": "127.0.0.1.example.org:80"},
]
