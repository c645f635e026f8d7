"""Table 1 against numbers computed by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from uls_data.errors import ManifestError
from uls_data.manifest import write_manifest
from uls_data.manifest.stats import stats


def row(
    case: str, lesion: int | None = 1, sample: int | None = 0, **changes: Any
) -> dict[str, Any]:
    base = {"source": "s", "case_id": case, "patient_id": case[0], "lesion_index": lesion}
    return {**base, "sample_index": sample, "layer": "annotated", "status": "ok", **changes}


def table(folder: Path, *rows: dict[str, Any], **options: Any) -> dict[Any, dict[str, Any]]:
    write_manifest(rows, folder / "m.parquet")
    by = options.get("by", ("source", "layer"))
    records = stats(folder / "m.parquet", **options).to_dict("records")
    return {tuple(record[name] for name in by): record for record in records}


def test_numbers(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        row("a1", 1, long_axis_vox=10.0, short_axis_vox=4.0, split="train"),
        row("a1", 1, 1, long_axis_vox=99.0, short_axis_vox=99.0, split="train"),  # second click
        row("a2", 1, long_axis_vox=20.0, short_axis_vox=6.0, split="train"),
        row("b1", 3, long_axis_vox=60.0, short_axis_vox=11.0, split="heldout"),
        row("b1", 4, None, status="skipped", reason="below_minimum_size"),
        row("c1", None, None, status="failed", reason="not_3d"),
    )
    assert list(found) == [("s", "annotated")]
    one = found["s", "annotated"]
    assert (one["patients"], one["series"], one["lesions"], one["heldout"]) == (2, 3, 3, 1)
    assert (one["skipped"], one["failed"]) == (1, 1)
    assert (one["long_mean"], one["short_mean"]) == (30.0, 7.0)
    # Sample standard deviation: sqrt((400 + 100 + 900) / 2), sqrt((9 + 1 + 16) / 2).
    assert one["long_std"] == pytest.approx(math.sqrt(700))
    assert one["short_std"] == pytest.approx(math.sqrt(13))


def test_several_sources_and_layers(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        row("a1", long_axis_vox=10.0),
        row("a1", long_axis_vox=14.0, layer="pseudo3d-r1"),
        row("a1", long_axis_vox=40.0, source="t"),
        row("a2", long_axis_vox=50.0, source="t"),
    )
    assert list(found) == [
        ("s", "annotated"),
        ("s", "pseudo3d-r1"),
        ("t", "annotated"),
        ("all", ""),
    ]
    assert found["s", "annotated"]["long_mean"] == 10.0
    assert found["s", "pseudo3d-r1"]["lesions"] == 1
    assert found["t", "annotated"]["series"] == 2 and found["t", "annotated"]["patients"] == 1
    whole = found["all", ""]
    # Patient a of s and patient a of t are two patients.
    assert (whole["lesions"], whole["series"], whole["patients"]) == (4, 3, 2)
    assert whole["long_mean"] == pytest.approx(28.5)


def test_one_lesion_has_no_deviation(tmp_path: Path) -> None:
    one = table(tmp_path, row("a", long_axis_vox=10.0))["s", "annotated"]
    assert one["long_mean"] == 10.0 and math.isnan(one["long_std"])
    assert math.isnan(one["short_mean"])


def test_groups(tmp_path: Path) -> None:
    rows = [
        row("a", long_axis_vox=10.0, lesion_type="bone"),
        row("b", long_axis_vox=20.0, lesion_type="liver"),
        row("c", None, None, status="failed"),
    ]
    found = table(tmp_path, *rows, by=("lesion_type",))
    known = {key[0]: record for key, record in found.items() if isinstance(key[0], str)}
    assert known["bone"]["lesions"] == known["liver"]["lesions"] == 1
    assert known["all"]["failed"] == 1 and len(found) == 4  # and a group without a type


def test_several_files_and_nothing_at_all(tmp_path: Path) -> None:
    for name in "ab":
        write_manifest([row(name, long_axis_vox=4.0)], tmp_path / f"{name}.parquet")
    frame = stats([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    assert frame["lesions"].tolist() == [2]
    write_manifest([], tmp_path / "none" / "n.parquet")
    assert stats(tmp_path / "none")["lesions"].tolist() == [0]
    with pytest.raises(ManifestError):
        stats(tmp_path / "absent")
