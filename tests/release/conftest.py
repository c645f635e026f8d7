"""A release that nobody writes to."""

from __future__ import annotations

from pathlib import Path

import pytest
from makers.builds import TWO, make_release


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    make_release(folder, TWO)
    return folder
