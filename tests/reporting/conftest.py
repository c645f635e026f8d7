"""A small build."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import uls_data
from demo.sources import make_archives


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OUT of a build of three made-up cases, with thumbnails."""
    root = tmp_path_factory.mktemp("built")
    raw = make_archives(root / "raw", only=["kits21"])["kits21"]
    uls_data.build("kits21", raw, root / "vois")
    return root / "vois"


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    """A copy of that build that a test may spoil."""
    return Path(shutil.copytree(built, tmp_path / "vois"))
