"""The made-up hospital: every way in which it tells a lesion leads to a row."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.hospital import hospital_lines
from demo.sources import make_archives
from uls_data import build
from uls_data.manifest.parquet import read_table
from uls_data.manifest.row import Row


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("hospital")
    archives = make_archives(root / "raw", only=["hospital", "hospital_readers"])
    for source, raw in archives.items():
        build(raw / f"{source}.yaml", raw, root / "vois", workers=0)
    return root / "raw", root / "vois"


def test_what_came_of_each_file(made: tuple[Path, Path]) -> None:
    rows: list[Row] = read_table(made[1]).to_pylist()
    lines = [row for row in rows if row["source"] == "hospital"]
    told = {row["label_source"]: row["status"] for row in lines if row["case_id"] != "p03"}
    assert told == {"p01/sr/SR0001": "ok", "p02/pr/PR0001": "ok", "lesions.csv": "failed"}
    assert sorted(row["reason"] or "ok" for row in lines if row["case_id"] == "p03") == [
        *("awaiting_lines", "not_measured", "ok")
    ]
    # Stated lengths are those of the lines: a report rounds to whole mm.
    for row in lines:
        if row["status"] == "ok" and row["stated_long_mm"] is not None:
            assert row["recist_long_vox"] is not None
            assert row["stated_long_mm"] == pytest.approx(row["recist_long_vox"] * 0.8, abs=0.51)
    assert "Nobody" not in repr(rows)


def test_what_the_demo_prints(made: tuple[Path, Path]) -> None:
    said = list(hospital_lines(*made))
    assert said[0] == "  2 reports, mined into hospital/lesions.csv: 3 ok, 1 organ"
    assert len([line for line in said if "long axis" in line]) == 4
    assert sum("of 3 readers" in line for line in said) == 3
    assert said[-1].endswith("1 of 3 readers      below_agreement")
