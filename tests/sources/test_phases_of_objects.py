"""Objects drawn on one of two phases that one series holds: which phase is built, and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from makers.phases import DRAWN_AT, Stack, slices_of, write_seg, write_stacks, write_structure_set

import uls_data
from uls_data.manifest.opened import open_voi
from uls_data.manifest.row import Row

# As of a scanner that numbers all slices of an examination: 1024 more than HU.
EARLY, LATE = Stack(1100, {"AcquisitionNumber": 1}), Stack(1200, {"AcquisitionNumber": 2})
WRITERS = {"seg": write_seg, "rtstruct": write_structure_set}


def recipe(path: Path, kind: str, policy: str = "fail") -> Path:
    said = {
        "schema_version": 1,
        "source": "own",
        "recipe_version": 1,
        "title": "Phases",
        "licence": {"name": "unknown", "redistributable": True, "evidence": "a test"},
        "citation": "none",
        "access": ["none"],
        "reader": {
            "name": "dicom_objects",
            "kind": kind,
            "case": "p1",
            "policy": {"duplicate_positions": policy},
        },
        "instances": {"rule": "components", "values": [1]},
        "minimum_size": None,
        "lesion_type": "liver",
    }
    path.write_text(json.dumps(said), encoding="utf-8")
    return path


def build(root: Path, kind: str, **options: Any) -> list[Row]:
    return uls_data.build(recipe(root / "own.yaml", kind, **options), root / "p", root / "out").rows


def folder(root: Path) -> Path:
    return root / "p" / "p1" / "ct"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_stacks(folder(tmp_path), EARLY, LATE)
    return tmp_path


@pytest.mark.parametrize("policy", ["fail", "first_instance_number"])
@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("stack", [EARLY, LATE])
def test_the_phase_that_was_drawn_on(root: Path, kind: str, stack: Stack, policy: str) -> None:
    WRITERS[kind](root / "p" / "p1" / "object.dcm", slices_of(folder(root), stack))
    lesion, other = sorted(build(root, kind, policy=policy), key=lambda row: row["status"])
    assert lesion["status"] == "ok" and "phase_chosen" in lesion["qc_flags"]
    voi = open_voi(lesion, root / "out")
    assert np.unique(voi.image[voi.mask]).tolist() == [stack.value + 1 - 1024]
    assert lesion["mask_voxels"] == 6 * 6 * len(DRAWN_AT)
    # The other phase is in a row too.
    assert (other["status"], other["reason"]) == ("skipped", "not_annotated")
    assert "6 of the 12 slices" in (other["detail"] or "")


def test_a_phase_each(root: Path) -> None:
    """Two objects of one series that were drawn on two phases: no grid is that of both."""
    for stack in (EARLY, LATE):
        to = root / "p" / "p1" / f"{stack.value}.dcm"
        write_seg(to, slices_of(folder(root), stack))
    (row,) = build(root, "seg")
    assert (row["status"], row["reason"]) == ("failed", "duplicate_positions")
    assert "12 of its 12" in row["detail"] or "4 of its 12" in row["detail"]
    assert "1100.dcm" in row["detail"] and "1200.dcm" in row["detail"]


def test_an_object_that_cannot_be_read_names_nothing(root: Path) -> None:
    write_seg(root / "p" / "p1" / "good.dcm", slices_of(folder(root), LATE))
    bad = pydicom.dcmread(root / "p" / "p1" / "good.dcm")
    bad.SOPInstanceUID = bad.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    bad.PixelData = bad.PixelData[:-8]
    bad.save_as(root / "p" / "p1" / "short.dcm")
    rows = build(root, "seg")
    assert {row["reason"] for row in rows} == {None, "truncated_file", "not_annotated"}
    (lesion,) = (row for row in rows if row["status"] == "ok")
    voi = open_voi(lesion, root / "out")
    assert np.unique(voi.image[voi.mask]).tolist() == [LATE.value + 1 - 1024]


def _forget(ds: pydicom.Dataset) -> None:
    for one in ds.PerFrameFunctionalGroupsSequence:
        one.DerivationImageSequence = []
    ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence = []


def _lie(ds: pydicom.Dataset) -> None:
    """Name slices of the other phase in half of the frames."""
    for one in ds.PerFrameFunctionalGroupsSequence[::2]:
        source = one.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID = EARLY.uid(0)


@pytest.mark.parametrize("change", [_forget, _lie])
def test_an_object_that_does_not_tell_the_phase(root: Path, change: Any) -> None:
    path = root / "p" / "p1" / "object.dcm"
    write_seg(path, slices_of(folder(root), LATE))
    ds = pydicom.dcmread(path)
    change(ds)
    ds.save_as(path)
    (row,) = build(root, "seg")
    assert (row["status"], row["reason"]) == ("failed", "duplicate_positions")
    assert "of its" in row["detail"] and "positions" in row["detail"]


@pytest.mark.parametrize("stack", [EARLY, LATE])
def test_the_mask_goes_back_to_the_slices_that_it_is_of(root: Path, stack: Stack) -> None:
    write_seg(root / "p" / "p1" / "object.dcm", slices_of(folder(root), stack))
    build(root, "seg")
    done = uls_data.export_dicom_seg(root / "out", raw=root / "p", to=root / "seg")
    assert (done.lesions, done.failed) == (1, [])
    (path,) = (root / "seg").rglob("*.seg.dcm")
    frames = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    sources = {
        image.ReferencedSOPInstanceUID
        for frame in frames
        for image in frame.DerivationImageSequence[0].SourceImageSequence
    }
    assert sources == stack.named(DRAWN_AT)
    # Without the object, nothing tells the phase any more.
    (root / "p" / "p1" / "object.dcm").unlink()
    left = uls_data.export_dicom_seg(root / "out", raw=root / "p", to=root / "again")
    assert left.lesions == 0 and len(left.failed) == 1
