"""A small build."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from makers.shared import Shared


@pytest.fixture(scope="session")
def built(shared: Shared) -> Path:
    """OUT of a build of three made-up cases, with thumbnails."""
    return shared.out("kits21")


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Path:
    """A copy of that build that a test may spoil."""
    return Path(shutil.copytree(built, tmp_path / "vois"))
