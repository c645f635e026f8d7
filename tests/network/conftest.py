"""One small set of VOIs for all tests of the network."""

from __future__ import annotations

from pathlib import Path

import pytest
from makers.vois import write_voi, write_vois


@pytest.fixture(scope="session")
def vois(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five training lesions, one held-out one: OUT folder of a build."""
    out = tmp_path_factory.mktemp("vois")
    rows = [write_voi(out, f"p{n}", 8 + n, pad_z=50 if n == 1 else 0) for n in range(5)]
    rows.append(write_voi(out, "p9", 9, split="heldout", lesion_type="liver"))
    write_vois(out, rows)
    return out
