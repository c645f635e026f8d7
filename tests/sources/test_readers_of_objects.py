"""Whose mark is whose, where several readers outlined the lesions of one series."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from makers.reader_objects import ReadScan

import uls_data
from uls_data.errors import RecipeError
from uls_data.manifest.row import Row
from uls_data.recipe import load_recipe
from uls_data.sources.find import find_cases

SHAPE = (14, 12, 6)
AFFINE = np.array([[0.7, 0, 0, -9], [0, 0.7, 0, 4], [0, 0, 2.0, -800], [0, 0, 0, 1]])


def box(x: int, width: int = 3) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros(SHAPE, bool)
    mask[x : x + width, 3:8, 1:4] = True
    return mask


# All three outline a lesion; only the third another.
SCAN = ReadScan(np.zeros(SHAPE, np.int16), AFFINE, (box(2), box(3), box(2) | box(9)))


def recipe(path: Path, reader: dict[str, Any], rule: str = "given") -> Path:
    said = {
        "schema_version": 1,
        "source": "own",
        "recipe_version": 1,
        "title": "Several readers",
        "licence": {"name": "unknown", "redistributable": True, "evidence": "a test"},
        "citation": "none",
        "access": ["none"],
        "reader": reader,
        "instances": {"rule": rule} if rule != "components" else {"rule": rule, "values": [1]},
        "minimum_size": None,
        "lesion_type": "various",
    }
    path.write_text(json.dumps(said), encoding="utf-8")
    return path


def objects(root: Path, readers: Any, rule: str = "components", **more: Any) -> list[Row]:
    reader = {"name": "dicom_objects", "kind": "rtstruct", "case": "p1", "readers": readers, **more}
    made = recipe(root / "own.yaml", reader, rule)
    return uls_data.build(made, root / "raw", root / "out", labels_only=True).rows


@pytest.fixture
def root(tmp_path: Path) -> Path:
    uids = SCAN.write_series(tmp_path / "raw", "p1")
    SCAN.write_structure_sets(tmp_path / "raw", "p1", uids)
    return tmp_path


NAMES = [f".*/reader-{number}/.*" for number in (1, 2, 3)]


def layers(rows: list[Row]) -> dict[str, int | None]:
    return {row["layer"] or "": row["mask_voxels"] for row in rows if row["status"] == "ok"}


# Each box has 3 x 5 x 3 voxels; the first two share 2 x 5 x 3.
EXPECTED = {"annotated": 45, "reader-1": 45, "reader-2": 45, "reader-3": 45}


@pytest.mark.parametrize("readers", [{"names": NAMES}, {}])
def test_objects_of_readers(root: Path, readers: dict[str, Any]) -> None:
    rows = objects(root, readers)
    assert layers(rows) == EXPECTED
    (lost,) = (row for row in rows if row["status"] != "ok")
    assert (lost["reason"], lost["agreement_level"]) == ("below_agreement", 1)
    (majority,) = (row for row in rows if row["layer"] == "annotated" and row["status"] == "ok")
    assert majority["agreement_level"] == 3
    assert majority["uncertainty"] == pytest.approx(1 - (1 + 2 / 3 + 2 / 3) / 3)
    assert {row["annotator"] for row in rows} == {None, "reader-1", "reader-2", "reader-3"}


def test_marks_of_one_structure_are_one_lesion(root: Path) -> None:
    """The third reader's structure holds both places; with `given` it belongs to one lesion."""
    rows = objects(root, {"names": NAMES}, "given")
    assert layers(rows) == {**EXPECTED, "reader-3": 90}
    (name,) = {row["source_lesion_id"] for row in rows}
    assert name == "+".join(f"reader-{number}/rs.dcm/roi-1" for number in (1, 2, 3))


def test_objects_of_nobody_are_told(root: Path) -> None:
    rows = objects(root, {"names": NAMES[:2]})
    assert layers(rows) == {"annotated": 30, "reader-1": 45, "reader-2": 45}
    (lost,) = (row for row in rows if row["status"] != "ok")
    assert lost["reason"] == "annotation_mismatch"
    assert "p1/reader-3/rs.dcm: fits none" in (lost["detail"] or "")


def test_no_object_of_anybody(root: Path) -> None:
    (only,) = objects(root, {"names": ["a", "b"]})
    assert (only["status"], only["reason"]) == ("failed", "annotation_mismatch")


def test_the_latest_of_each_reader(root: Path) -> None:
    """A corrected set of the first reader stands in for the first one, and for no other's."""
    first = root / "raw" / "p1" / "reader-1" / "rs.dcm"
    data = pydicom.dcmread(root / "raw" / "p1" / "reader-2" / "rs.dcm")
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    for number, path in enumerate([first, first.with_name("again.dcm")]):
        written = pydicom.dcmread(first) if path == first else data
        written.StructureSetDate, written.StructureSetTime = f"2020010{number + 1}", "120000"
        written.save_as(path)
    rows = objects(root, {"names": NAMES}, several="latest")
    (majority,) = (row for row in rows if row["layer"] == "annotated" and row["status"] == "ok")
    scores = {it["candidate"]: it["value"] for it in majority["candidate_scores"] or ()}
    assert scores["reader-1/reader-2"] == 1
    assert [row["reason"] for row in rows if row["status"] != "ok"].count("duplicate") == 1


def test_structures_of_readers(tmp_path: Path) -> None:
    """One object, whose ROIs name their readers; one of them names nobody."""
    uids = SCAN.write_series(tmp_path / "raw", "p1")
    SCAN.write_structure_sets(tmp_path / "raw", "p1", uids)
    sets = [tmp_path / "raw" / "p1" / f"reader-{n}" / "rs.dcm" for n in (1, 2, 3)]
    together = pydicom.dcmread(sets[0])
    for number, path in enumerate(sets[1:], 2):
        other = pydicom.dcmread(path)
        (roi,), (drawn,) = other.StructureSetROISequence, other.ROIContourSequence
        roi.ROINumber = drawn.ReferencedROINumber = number
        together.StructureSetROISequence.append(roi)
        together.ROIContourSequence.append(drawn)
        path.unlink()
    together.StructureSetROISequence[2].ROIName = "somebody"
    together.save_as(sets[0])
    names = ["(?i:gtv reader 1)", "GTV.*2", "GTV.*3"]
    rows = objects(tmp_path, {"by": "structure", "names": names})
    assert layers(rows) == {"annotated": 30, "reader-1": 45, "reader-2": 45}
    (lost,) = (row for row in rows if row["status"] != "ok")
    assert (lost["reason"], lost["source_lesion_id"]) == ("annotation_mismatch", "roi-3")
    assert "somebody" not in repr(rows)


@pytest.mark.parametrize("readers", [{"names": ["a"]}, {"by": "structure"}])
def test_a_reader_alone_is_refused(tmp_path: Path, readers: dict[str, Any]) -> None:
    reader = {"name": "dicom_objects", "kind": "seg", "case": "p1", "readers": readers}
    with pytest.raises(RecipeError, match="two readers or more"):
        load_recipe(str(recipe(tmp_path / "own.yaml", reader)))


# --- A file a reader ---------------------------------------------------------

LAYOUT = {"name": "x", "image": "ct/{case}.nii.gz", "instances": "readers/{case}_{annotation}{ext}"}


def test_files_of_readers(tmp_path: Path) -> None:
    SCAN.write_volumes(tmp_path / "raw", "p1")
    # The second reader has left: the others keep their names.
    (tmp_path / "raw" / "readers" / "p1_2.nii.gz").unlink()
    reader = {"name": "volume_pairs", "layouts": [LAYOUT], "case": "p[0-9]"}
    made = recipe(tmp_path / "own.yaml", reader, "files")
    (case,) = find_cases(load_recipe(str(made)).recipe, tmp_path / "raw")
    assert [(number, who) for number, who, _ in case.instances] == [(None, 1), (None, 3)]
    rows = uls_data.build(made, tmp_path / "raw", tmp_path / "out").rows
    assert layers(rows) == {"annotated": 45, "reader-1": 45, "reader-3": 45}
    assert [row["reason"] for row in rows if row["status"] != "ok"] == ["below_agreement"]


@pytest.mark.parametrize(
    ("layout", "rule", "said"),
    [
        ({**LAYOUT, "instances": "{case}"}, "files", "exactly once"),
        ({"name": "x", "image": "{case}"}, "files", "where are the masks"),
        (LAYOUT, "values", "no `mask` pattern"),
    ],
)
def test_layouts_that_cannot_be(
    tmp_path: Path, layout: dict[str, str], rule: str, said: str
) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(
            str(recipe(tmp_path / "own.yaml", {"name": "volume_pairs", "layouts": [layout]}, rule))
        )
