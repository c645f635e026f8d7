"""No held-out patient trains, in whichever source and under whatever split a row claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from uls_data.errors import ManifestError
from uls_data.manifest import write_manifest
from uls_data.manifest.patients import patient_key
from uls_data.network.examples import find_examples, find_vois, heldout_patients


def row(source: str, patient: str | None, case: str = "", **changes: Any) -> dict[str, Any]:
    case = case or f"{patient}_01"
    name = f"{case}_lesion_01_sample_0"
    base = {"source": source, "case_id": case, "patient_id": patient, "lesion_index": 1}
    files = {"image_path": f"{name}.nii.gz", "label_path": f"{name}.nii.gz"}
    rest = {"sample_index": 0, "layer": "annotated", "status": "ok", "split": "train"}
    return {**base, **files, **rest, "voi_id": name, "lesion_type": "lung", **changes}


def write(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    write_manifest(rows, folder / "manifest" / f"{name}.parquet")
    return folder / "manifest" / f"{name}.parquet"


def cases(examples: Any) -> list[str]:
    return [example.row["case_id"] for example in examples]


def test_held_out_in_one_source_is_held_out_in_its_twin(tmp_path: Path) -> None:
    full = write(tmp_path, "deeplesion3d", row("deeplesion3d", "009991", split="heldout"))
    weak = write(
        tmp_path,
        "deeplesion",
        row("deeplesion", "009991", supervision="weak_2d"),
        row("deeplesion", "009992", supervision="weak_2d"),
    )
    found = find_examples([full, weak])
    assert cases(found.train) == ["009992_01"]
    assert cases(found.heldout) == ["009991_01", "009991_01"]
    everything = find_examples([full, weak], include_heldout=True)
    assert len(everything.train) == 3 and len(everything.heldout) == 2


def test_the_recipes_list_holds_whatever_a_manifest_says(tmp_path: Path) -> None:
    assert "deeplesion/000102" in heldout_patients()
    path = write(
        tmp_path,
        "deeplesion",
        row("deeplesion", "000102", split="train"),
        row("deeplesion", "000102", case="000102_02", split=None),
        row("deeplesion", "000001"),
    )
    found = find_examples(path)
    assert cases(found.train) == ["000001_01"]
    assert len(found.heldout) == 2


def test_equal_ids_of_other_sources_are_other_people(tmp_path: Path) -> None:
    one = write(tmp_path, "lits", row("lits", "77", split="heldout"))
    other = write(tmp_path, "own", row("own", "77"))
    assert cases(find_examples([one, other]).train) == ["77_01"]


def test_patients_who_are_not_known(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "x",
        row("deeplesion", None, case="a", split=None),
        row("own", None, case="b", split=None),
    )
    found = find_examples(path)
    assert cases(found.train) == ["b"]
    assert found.left_out == {"of unknown patients, who could be held out": 1}
    assert patient_key(found.train[0].row) == "own/case/b"


def test_left_out_on_purpose(tmp_path: Path) -> None:
    path = write(tmp_path, "own", row("own", "1"), row("own", "2"))
    found = find_examples(path, leave_out={"own/1"})
    assert cases(found.train) == ["2_01"] and not found.heldout
    with pytest.raises(ManifestError, match="no row to train on"):
        find_examples(path, leave_out={"own/1", "own/2"})


def test_one_mask_for_each_voi(tmp_path: Path) -> None:
    def layers(*names: str) -> Path:
        return write(tmp_path, "own", *(row("own", "1", layer=name) for name in names))

    def chosen(*names: str, **options: Any) -> list[str]:
        return [e.row["layer"] for e in find_examples(layers(*names), **options).train]

    assert chosen("reader-1", "annotated", "reader-2") == ["annotated"]
    assert chosen("ellipse", "grabcut", "jury") == ["jury"]
    assert chosen("jury", "pseudo3d-r2", "pseudo3d-r10") == ["pseudo3d-r10"]
    assert chosen("grabcut") == ["grabcut"]
    assert chosen("ellipse", "grabcut", "quadrilateral") == ["grabcut"]
    assert chosen("grabcut", "jury", layers=["grabcut"]) == ["grabcut"]
    with pytest.raises(ManifestError, match="--layer"):
        chosen("reader-1", "reader-2")
    assert chosen("ellipsoid", "quadrilateral") == ["quadrilateral"]
    assert chosen("ellipsoid", "jury", layers=["ellipsoid"]) == ["ellipsoid"]
    with pytest.raises(ManifestError, match="1 ellipsoids of lines, which train only where"):
        chosen("ellipsoid")
    assert [e.row["layer"] for e in find_vois(layers("ellipsoid"))] == ["ellipsoid"]


def test_rows_that_are_no_vois_and_rows_twice(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "own",
        row("own", "1"),
        row("own", "2", status="skipped", reason="below_minimum_size", image_path=None),
    )
    assert find_examples(path).left_out == {"without image, label or status ok": 1}
    again = write(tmp_path / "again", "own", row("own", "1"))
    with pytest.raises(ManifestError, match="two rows hold own/1_01/1/0"):
        find_examples([path, again])


def test_corrections_count(tmp_path: Path) -> None:
    write(
        tmp_path,
        "lits",
        row("lits", "1"),
        row("lits", "1", layer="corrected", parent_layer="annotated", label_path="new"),
        row("lits", "3"),
        row("lits", "3", layer="corrected", status="skipped", reason="erratum_drop"),
        row("lits", "5", qc_flags=["leak_same_scan"]),
    )
    found = find_examples(tmp_path)
    assert [(e.row["case_id"], e.row["label_path"]) for e in found.train] == [("1_01", "new")]
    assert found.left_out["withdrawn by a correction"] == 2
    assert found.left_out["replaced by a correction"] == 1
    assert found.left_out["flagged by `uls-data audit` as leaks"] == 1
    assert len(find_examples(tmp_path, include_heldout=True).train) == 2
