from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from makers.store import Proxy, proxy

from demo.idc import Store, object_store
from uls_data.fetching import s5cmd


@pytest.fixture(scope="session")
def running_store() -> Iterator[tuple[Store, Proxy]]:
    if find_spec("moto") is None or find_spec("s5cmd") is None:
        pytest.skip("moto or s5cmd is not installed: pip install 'uls-data[test]'")
    with object_store() as store, proxy(store.port) as before:
        yield store, before


@pytest.fixture
def store(running_store: tuple[Store, Proxy]) -> Store:
    running_store[0].empty()
    return running_store[0]


@pytest.fixture
def line(running_store: tuple[Store, Proxy], monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The proxy before the store, which `fetch` talks to."""
    running_store[1].clear()
    monkeypatch.setenv(s5cmd.ENDPOINT_VARIABLE, running_store[1].url)
    monkeypatch.setattr(s5cmd, "_RETRIES", 2)
    return running_store[1]
