"""Rows held by column say what rows read as dicts say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uls_data.errors import ManifestError
from uls_data.manifest.held import HeldRows
from uls_data.manifest.parquet import iterate_rows, write_manifest
from uls_data.manifest.row import Row


def row(number: int, **columns: Any) -> Row:
    found: Row = {
        "source": "s",
        "case_id": f"c{number:02}",
        "lesion_index": 1,
        "sample_index": 0,
        "layer": "annotated",
        "status": "ok",
        "qc_flags": [],
    }
    return found | columns  # type: ignore[return-value]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two manifests, with nulls, lists, and texts that repeat and that do not."""
    made = []
    for name, numbers in (("a", range(20)), ("b", range(20, 33))):
        rows = [
            row(
                n,
                voi_id=f"é{n}" if n % 3 else None,
                lesion_type="lung" if n % 5 else None,
                redistributable=[True, False, None][n % 3],
                long_axis_mm=n / 7 if n % 4 else None,
                fold=n if n % 2 else None,
                mask_voxels=n,
                affine=[float(n)] * 16,
                qc_flags=["cut_by_voi"] * (n % 2),
                recist_points_vox=[0.5] * n if n % 6 else None,
                candidate_scores=[{"candidate": "x", "measure": "m", "value": float(n)}],
            )
            for n in numbers
        ]
        write_manifest(rows, tmp_path / f"{name}.parquet")
        made.append(tmp_path / f"{name}.parquet")
    return made


def test_every_column_of_every_row_in_any_order(files: list[Path]) -> None:
    rows = [row for file in files for row in iterate_rows(file)]
    numbers = np.random.default_rng(0).permutation(len(rows))[:25]
    held = HeldRows(files, numbers)
    assert len(held) == 25
    for number, found in zip(numbers, held, strict=True):
        assert isinstance(found, Mapping) and {**found} == rows[number]
    assert {**held[-1]} == rows[numbers[-1]]
    assert [one["case_id"] for one in held[3:5]] == [rows[n]["case_id"] for n in numbers[3:5]]
    assert held[0].get("no_column", 7) == 7
    assert len(held[:4]) == 4 and len(held[:40]) == 25
    held.forget("voi_id")
    assert held[0]["voi_id"] == rows[numbers[0]]["voi_id"]
    with pytest.raises(IndexError):
        held[:4][4]
    with pytest.raises(KeyError):
        held[0]["no_column"]  # type: ignore[typeddict-item]


def test_parts_and_groups(files: list[Path]) -> None:
    held = HeldRows(files, np.arange(32, -1, -1))
    odd = held.where(lambda row: row["fold"])
    assert [row["fold"] for row in odd] == list(range(31, 0, -2))
    assert [row["mask_voxels"] for row in odd.one_each("lesion_type")] == [31, 25]
    assert len(odd.one_each("source", "case_id")) == len(odd) == 16
    assert len(held[:0].one_each("source", "case_id")) == 0


def test_something_else_may_be_held_of_a_value(files: list[Path]) -> None:
    held = HeldRows(files, np.arange(33), {"candidate_scores": lambda scores: scores[0]["value"]})
    for number, found in enumerate(held):
        assert {**found}["candidate_scores"] == number


def test_a_manifest_that_grows_meanwhile_is_told(files: list[Path]) -> None:
    held = HeldRows(files, np.arange(33))
    assert held[32]["voi_id"] == "é32"
    write_manifest([row(n) for n in range(5)], files[0])
    for name in ("case_id", "qc_flags"):
        with pytest.raises(ManifestError, match="changed while it was read"):
            held[0][name]


def test_no_rows(tmp_path: Path) -> None:
    write_manifest([], tmp_path / "m.parquet")
    assert list(HeldRows([tmp_path / "m.parquet"], np.arange(0))) == []
