"""Fixtures and options that all tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Each test worker has one core, and so has each process that a test starts: threads of libraries
# would only wait for one another (training small networks took four times as long). They are
# read when a library is loaded; numpy, which is loaded by now, has no use for them in tests.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

ROOT = Path(__file__).parent.parent
# Real CT, masks and published labels are beside the project; they are never part of it.
REAL_DATA = Path(os.environ.get("ULS_DATA_REAL", ROOT.parent / "shared" / "data"))

_SLOW = (ROOT / "tests" / "slow.txt").read_text(encoding="utf-8").split()

_CHECKS = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
settings.register_profile(
    "default", deadline=None, max_examples=30, suppress_health_check=_CHECKS, derandomize=True
)
settings.register_profile("fuzz", deadline=None, max_examples=2000, suppress_health_check=_CHECKS)
settings.load_profile("default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write golden rows instead of comparing"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `slow.txt` names: folders, files, or tests (with all their parameters)."""
    here = Path(__file__).parent
    for item in items:
        file, _, test = item.nodeid.partition("::")
        name = (ROOT / file).relative_to(here).as_posix()
        whole = f"{name}::{test.partition('[')[0]}"
        if whole in _SLOW or any(name.startswith(part) for part in _SLOW if "::" not in part):
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data; skips the test, saying so, where it is absent."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}; set ULS_DATA_REAL")
    return REAL_DATA


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`makers.shared.Shared`: raw archives and builds that all test workers use, to read only."""
    from makers.shared import Shared

    base = tmp_path_factory.getbasetemp()
    # A worker of xdist has a folder of its own inside that of the session.
    return Shared((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared")


@pytest.fixture(scope="session")
def labels_index(real_data: Path, shared: Any) -> Path:
    """Manifest of all published labels of the real data."""
    import uls_data

    folder = real_data / "uls23-labels"
    made: Path = shared.once(
        "labels-index", lambda to: uls_data.index(folder, to / "labels.parquet", workers=0)
    )
    return made / "labels.parquet"


@pytest.fixture
def rng() -> Iterator[np.random.Generator]:
    yield np.random.default_rng(20231029)
