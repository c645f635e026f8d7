"""A lost scheduler is told in plain words, not by a traceback of its libraries."""

from __future__ import annotations

import asyncio
import gc

import pytest
from distributed.client import AllExit

from uls_data.engine.cluster import run_on_cluster
from uls_data.engine.queue import Queue
from uls_data.errors import SourceError


async def _fail(error: BaseException) -> None:
    raise error


async def _forget(error: BaseException) -> None:
    """A task that fails and that nobody asks, as `Client.gather` leaves one."""
    task = asyncio.ensure_future(_fail(error))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    gc.collect()


@pytest.mark.parametrize(
    ("error", "told"),
    [(AllExit(), False), (ConnectionResetError("gone"), False), (ValueError("ours"), True)],
)
def test_only_other_errors_are_told(
    error: BaseException, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Queue([], lambda task: 0)
    with pytest.raises(SourceError, match="nonsense"):
        list(run_on_cluster("nonsense://here", str, queue, lambda task, why: why))
    asyncio.run(_forget(error))
    assert ("never retrieved" in caplog.text) == told
