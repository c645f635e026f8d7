"""`filter`: what is kept, why the rest is not, and that the counts close."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from uls_data.cli import main
from uls_data.errors import ManifestError
from uls_data.filtering import combined_rule, filter, paper_rule
from uls_data.manifest import load_manifest, write_manifest

GOOD: dict[str, Any] = {
    "status": "ok",
    "supervision": "pseudo_3d",
    "layer": "pseudo3d-r1",
    "key_slice_long_error_vox": 1.0,
    "key_slice_short_error_vox": -1.0,
    "recist_long_vox": 30.0,
    "recist_short_vox": 20.0,
    "long_axis_mm": 21.0,
    "short_axis_mm": 14.0,
    "volume_mm3": 21 * 14 * 16 * np.pi / 6,  # an ellipsoid of 16 mm along z
    "qc_flags": [],
}
# One fault each, and the clause of the combined rule that finds it.
FAULTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "good": ({}, None),
    "at_the_bound": ({"key_slice_long_error_vox": -5.0, "key_slice_short_error_vox": 5.0}, None),
    "long": ({"key_slice_long_error_vox": 5.01}, "long_axis"),
    "short": ({"key_slice_short_error_vox": -5.01}, "short_axis"),
    "unmeasured": ({"key_slice_long_error_vox": None}, "long_axis"),
    "small": ({"key_slice_short_error_vox": 4.0, "recist_short_vox": 8.0}, "relative_error"),
    "small_but_near": ({"key_slice_short_error_vox": 2.0, "recist_short_vox": 5.0}, None),
    "doubtful": ({"predicted_dice": 0.69}, "predicted_dice"),
    "sure": ({"predicted_dice": 0.7, "uncertainty": 0.7}, None),
    "uncertain": ({"uncertainty": 0.71}, "uncertainty"),
    "near": ({"endpoint_distance_vox": 22.5, "key_slice_dice": 0.8}, None),
    "turned": ({"endpoint_distance_vox": 22.6}, "endpoint_distance"),
    "unlike": ({"key_slice_dice": 0.79}, "key_slice_dice"),
    "pieces": ({"qc_flags": ["several_components_26"]}, "one_component"),
    "corners": ({"qc_flags": ["several_components_6"]}, None),
    "off": ({"qc_flags": ["centre_outside_mask"]}, "centre_in_mask"),
    "border": ({"qc_flags": ["cut_by_voi", "touches_y_high"]}, "inside_voi"),
    "end": ({"qc_flags": ["touches_z_low"]}, "inside_voi"),
    "flat": ({"volume_mm3": 21 * 14 * 2 * np.pi / 6}, "z_extent"),
    "tall": ({"volume_mm3": 21 * 14 * 60 * np.pi / 6}, "z_extent"),
    "weak_is_flat": ({"volume_mm3": 21 * 14 * 2 * np.pi / 6, "supervision": "weak_2d"}, None),
    "no_spacing": ({"volume_mm3": None, "long_axis_mm": None, "short_axis_mm": None}, None),
    "a_point": ({"volume_mm3": 1.0, "long_axis_mm": 0.0, "short_axis_mm": 0.0}, None),
}
OTHERS: dict[str, dict[str, Any]] = {
    "full": {"supervision": "full", "layer": "annotated", "key_slice_long_error_vox": None},
    "skipped": {"status": "skipped", "reason": "below_minimum_size", "detail": "small"},
    "failed": {"status": "failed", "reason": "not_3d", "detail": "flat"},
}


def row(case: str, changes: dict[str, Any]) -> dict[str, Any]:
    key = {"source": "s", "case_id": case, "lesion_index": 1, "sample_index": 0, "voi_id": case}
    return {**GOOD, **key, **changes}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [row(case, changes) for case, (changes, _) in FAULTS.items()]
    rows += [row(case, changes) for case, changes in OTHERS.items()]
    write_manifest(rows, tmp_path / "in" / "manifest" / "m.parquet")
    return tmp_path / "in" / "manifest" / "m.parquet"


def rows_of(path: Path) -> dict[str, dict[str, Any]]:
    return {row["case_id"]: row for row in load_manifest(path).to_dict("records")}


def test_the_combined_rule(manifest: Path, tmp_path: Path) -> None:
    report = filter(manifest, tmp_path / "out.parquet")
    found = rows_of(tmp_path / "out.parquet")
    before = rows_of(manifest)
    assert found.keys() == before.keys()
    for case, (_, clause) in FAULTS.items():
        if clause is None:
            assert found[case]["status"] == "ok", case
            assert not isinstance(found[case]["detail"], str), case
        else:
            assert (found[case]["status"], found[case]["reason"]) == ("skipped", "filtered"), case
            assert clause in found[case]["detail"], case
    for case in OTHERS:
        for column in ("status", "reason", "detail"):
            assert str(found[case][column]) == str(before[case][column])
    removed = sum(clause is not None for _, clause in FAULTS.values())
    assert (report.kept, report.removed) == (len(FAULTS) - removed, removed)
    assert (report.full, report.not_ok) == (1, 2)
    assert report.rows == report.kept + report.removed + report.full + report.not_ok
    assert sum(clause["in_sequence"] for clause in report.clauses) == removed
    assert [clause["name"] for clause in report.clauses] == [c.name for c in combined_rule()]
    by_name = {clause["name"]: clause for clause in report.clauses}
    # An axis that is too long is so relatively, too, where the lesion is small.
    assert (by_name["long_axis"]["alone"], by_name["long_axis"]["only"]) == (2, 1)
    assert by_name["inside_voi"]["alone"] == by_name["inside_voi"]["only"] == 2


def test_the_detail_tells_the_numbers(manifest: Path, tmp_path: Path) -> None:
    filter(manifest, tmp_path / "out.parquet")
    found = rows_of(tmp_path / "out.parquet")
    assert found["long"]["detail"] == "long_axis: key_slice_long_error_vox 5.01"
    assert found["border"]["detail"] == "inside_voi: cut_by_voi, touches_y_high"
    assert "key_slice_long_error_vox null" in found["unmeasured"]["detail"]


@pytest.mark.parametrize("bound", [5.0, 4.99, 1.0, 0.0, 100.0])
def test_the_paper_s_rule(manifest: Path, tmp_path: Path, bound: float) -> None:
    report = filter(manifest, tmp_path / "out.parquet", max_axis_error_vox=bound)
    assert [clause["name"] for clause in report.clauses] == [c.name for c in paper_rule()]
    for case, found in rows_of(tmp_path / "out.parquet").items():
        if case in OTHERS:
            continue
        errors = [
            {**GOOD, **FAULTS[case][0]}[f"key_slice_{axis}_error_vox"] for axis in ("long", "short")
        ]
        keep = all(error is not None and abs(error) <= bound for error in errors)
        assert (found["status"] == "ok") == keep, case


def test_an_expression_of_one_s_own(manifest: Path, tmp_path: Path) -> None:
    rule = 'key_slice_long_error_vox < 5 and (flagged("touches_y_high") or recist_short_vox > 9)'
    report = filter(manifest, tmp_path / "out.parquet", rule=rule)
    assert [clause["alone"] for clause in report.clauses] == [2, 2]
    assert report.removed == 4
    for bad in ("nonsense >", "no_such_column > 3", "status.to_csv('x')", "__import__('os')"):
        with pytest.raises(ManifestError):
            filter(manifest, tmp_path / "bad.parquet", rule=bad)
    with pytest.raises(ManifestError, match="states its own bound"):
        filter(manifest, tmp_path / "bad.parquet", rule=rule, max_axis_error_vox=3)
    with pytest.raises(ManifestError, match="expected pixels"):
        filter(manifest, tmp_path / "bad.parquet", max_axis_error_vox=float("nan"))
    assert not (tmp_path / "bad.parquet").exists()


def test_filtering_twice_changes_nothing(manifest: Path, tmp_path: Path) -> None:
    first = filter(manifest, tmp_path / "one.parquet")
    again = filter(tmp_path / "one.parquet", tmp_path / "two.parquet")
    assert again == first
    one, two = (load_manifest(tmp_path / f"{name}.parquet") for name in ("one", "two"))
    assert one.equals(two)


def test_another_rule_judges_anew_in_place(manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.parquet"
    filter(manifest, out)
    paper = filter(out, out, rule="paper")
    assert paper == filter(manifest, tmp_path / "two.parquet", rule="paper")
    assert load_manifest(out).equals(load_manifest(tmp_path / "two.parquet"))


@pytest.mark.parametrize(
    "out", ["in/manifest/kept.parquet", "else/manifest/m.parquet", "m.parquet"]
)
def test_paths_stay_valid(tmp_path: Path, out: str) -> None:
    source = tmp_path / "in"
    (source / "s" / "labels").mkdir(parents=True)
    (source / "s" / "labels" / "a.nii.gz").write_bytes(b"here")
    path = {"label_path": "s/labels/a.nii.gz"}
    write_manifest([row("a", path)], source / "manifest" / "m.parquet")
    filter(source, tmp_path / out)
    (found,) = load_manifest(tmp_path / out)["label_path"]
    assert ((tmp_path / out).parent.parent / found).read_bytes() == b"here"
    if out.startswith("in/"):
        assert found == "s/labels/a.nii.gz"


def test_the_next_command_can_be_copied(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "my masks" / "it's kept.parquet"
    with pytest.raises(SystemExit):
        main(["filter", "--manifest", str(manifest), "--out", str(out)])
    (line,) = [it for it in capsys.readouterr().out.splitlines() if it.startswith("Next: ")]
    assert shlex.split(line)[1:4] == ["uls-data", "query", str(out)]


def test_command_line(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["filter", "--manifest", str(manifest), "--out", str(tmp_path / "out.parquet")]
    with pytest.raises(SystemExit) as caught:
        main([*base, "--max-axis-error-vox", "5", "--json"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert caught.value.code == 0
    assert [line["kind"] for line in lines] == ["clause", "clause", "report"]
    assert lines[-1]["rows"] == len(FAULTS) + len(OTHERS)
    with pytest.raises(SystemExit):
        main(base)
    out = capsys.readouterr().out
    assert "removes alone" in out and "z_extent" in out
    with pytest.raises(SystemExit) as caught:
        main([*base, "--rule", "no_column < 3"])
    assert caught.value.code == 2 and "no_column" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["filter", "--help"])
    assert "uls-data filter" in capsys.readouterr().out
