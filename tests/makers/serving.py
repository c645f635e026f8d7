"""Servers in threads of this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from uls_data.triage import TriageServer


@contextmanager
def running(server: TriageServer) -> Iterator[TriageServer]:
    """Let a server answer until the context ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
