"""One reading of a nodule in each object, as in the segmentations of LIDC-IDRI."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from makers.own_objects import write_segmentation
from makers.reader_objects import ReadScan
from makers.shared import Shared
from test_readers_of_objects import AFFINE, EXPECTED, NAMES, SCAN, layers, objects

from uls_data.lesions import Lesion
from uls_data.recipe import load_recipe
from uls_data.recipe.model import Recipe
from uls_data.sources.find import find_cases
from uls_data.sources.open import open_case
from uls_data.sources.opening import Opened

PATIENT = "LIDC-IDRI-0042"
MAJORITY = {"consensus": "majority", "span": "all"}


def recipe(source: str, **changes: Any) -> Recipe:
    """Shipped recipe with changes of its reader, or of its rule."""
    said = load_recipe(source).recipe.model_dump()
    said["instances"] = changes.pop("rule", said["instances"])
    said["reader"] |= changes
    return Recipe.model_validate(said)


def opened(source: Recipe, raw: Path) -> Opened:
    """Only case of the patient that has annotations."""
    (case,) = (
        one
        for one in find_cases(source, raw)
        if one.annotations and PATIENT in one.annotations[0].as_posix() + one.slices[0].as_posix()
    )
    return open_case(case, source, raw, labels_only=False)


@pytest.fixture(scope="module")
def xml(shared: Shared) -> Path:
    return shared.raw("lidc_idri")


@pytest.fixture(scope="module")
def raw(xml: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the scan of the XML, and a segmentation of each of its readings."""
    readings = opened(recipe("lidc_idri", rule={"rule": "given"}, **MAJORITY), xml)
    root = tmp_path_factory.mktemp("readings")
    folder = root / PATIENT / "ct"
    (found,) = (xml / "LIDC-IDRI" / PATIENT).glob("*30178/*")
    shutil.copytree(found, folder, ignore=shutil.ignore_patterns("*.xml"))
    slices = sorted(
        (pydicom.dcmread(path) for path in folder.iterdir()),
        key=lambda ds: float(ds.ImagePositionPatient[2]),
    )
    volume = readings.reference
    for nodule, lesion in enumerate(readings.lesions, 1):
        for layer, voxels in lesion.readers:
            stored = np.zeros(volume.stored.shape, bool)
            volume.orientation.apply(stored)[tuple(voxels.T)] = True
            write_segmentation(
                root / PATIENT / f"{nodule}-{layer}.dcm",
                slices,
                stored.transpose(2, 1, 0).astype(np.uint8),
                "Nodule",
                # As lidc2dicom names it.
                series_description=f"Segmentation of Nodule {nodule} - Annotation {layer}",
            )
    return root


def told(lesions: Iterable[Lesion]) -> list[Any]:
    """All of lesions but the names that their sources give."""
    return [
        (
            one.index,
            one.voxels.tolist(),
            [(layer, own.tolist()) for layer, own in one.readers],
            one.agreement,
            one.scores,
            one.skipped,
        )
        for one in lesions
    ]


@pytest.mark.parametrize("rule", [{"rule": "given"}, {"rule": "components", "values": [1]}])
def test_the_majority_is_that_of_the_xml(xml: Path, raw: Path, rule: dict[str, Any]) -> None:
    """Four readers outlined one nodule, and two of them the other."""
    theirs = opened(recipe("lidc_idri", rule=rule, **MAJORITY), xml)
    assert sorted(one.agreement or 0 for one in theirs.lesions) == [2, 4]
    ours = opened(recipe("lidc_idc", rule=rule), raw)
    assert told(ours.lesions) == told(theirs.lesions) and not ours.marks
    # It is neither what any reader marked, nor what all did.
    for other in ("any", "all"):
        said = {**MAJORITY, "consensus": other}
        others = opened(recipe("lidc_idri", rule=rule, **said), xml)
        assert told(ours.lesions) != told(others.lesions)


def test_a_nodule_of_one_reader_is_a_lesion(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    for path in (tmp_path / "raw" / PATIENT).glob("2-*.dcm"):
        path.unlink()
    for path in sorted((tmp_path / "raw" / PATIENT).glob("1-*.dcm"))[1:]:
        path.unlink()
    (lesion,) = opened(recipe("lidc_idc"), tmp_path / "raw").lesions
    assert lesion.agreement == 1 and lesion.skipped is None
    assert [layer for layer, _ in lesion.readers] == ["reader-1"]
    assert np.array_equal(lesion.readers[0][1], lesion.voxels)


# Each overlaps the next one, and no voxel is marked by more than half of the four.
CHAIN = [range(at, at + 4) for at in (0, 3, 6, 9)]


@pytest.mark.parametrize("rule", ["given", "components"])
def test_readers_who_agree_on_no_voxel(tmp_path: Path, rule: str) -> None:
    masks = []
    for columns in CHAIN:
        mask = np.zeros((14, 12, 6), bool)
        mask[columns.start : columns.stop, 3:8, 1:4] = True
        masks.append(mask)
    scan = ReadScan(np.zeros((14, 12, 6), np.int16), AFFINE, masks)
    scan.write_structure_sets(tmp_path / "raw", "p1", scan.write_series(tmp_path / "raw", "p1"))
    (row,) = objects(tmp_path, {"votes": "lesion"}, rule)
    assert (row["status"], row["reason"]) == ("skipped", "below_agreement")
    assert "4 readers" in (row["detail"] or "") and (row["source_lesion_id"] or "").count("+") == 3


def test_named_readers_keep_their_numbers(tmp_path: Path) -> None:
    SCAN.write_structure_sets(tmp_path / "raw", "p1", SCAN.write_series(tmp_path / "raw", "p1"))
    named = {"by": "object", "names": NAMES, "votes": "lesion"}
    rows = objects(tmp_path, named, "given")
    # What the third reader alone marked belongs to the lesion that all share: it is one structure.
    assert layers(rows) == {**EXPECTED, "reader-3": 90}
    # Without the first two, the third is still the third, and a majority of one.
    for number in (1, 2):
        (tmp_path / "raw" / "p1" / f"reader-{number}" / "rs.dcm").unlink()
    assert layers(objects(tmp_path, named, "given")) == {"annotated": 90, "reader-3": 90}
