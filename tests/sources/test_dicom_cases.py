"""Which series goes with which mask, reading or structure set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pydicom
import pytest

import uls_data
from demo.sources import make_archives
from uls_data.errors import SourceError
from uls_data.outcome import Reason
from uls_data.recipe import load_recipe
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.find import find_cases


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    sources = ["nih_ln_abd", "nih_ln_med", "lidc_idri", "own_dicom"]
    return make_archives(tmp_path_factory.mktemp("raw"), only=sources)


def copy(archives: dict[str, Path], source: str, tmp_path: Path) -> Path:
    return Path(shutil.copytree(archives[source], tmp_path / "raw", symlinks=True))


def cases(source: str, raw: Path) -> dict[str, CaseFiles]:
    own = raw / f"{source}.yaml"
    recipe = load_recipe(str(own) if own.is_file() else source).recipe
    return {case.case_id: case for case in find_cases(recipe, raw)}


def reasons(source: str, raw: Path) -> dict[str, Reason | None]:
    return {name: c.problem[0] if c.problem else None for name, c in cases(source, raw).items()}


def test_series_beside_a_seg_of_its_study(archives: dict[str, Path]) -> None:
    found = cases("nih_ln_abd", archives["nih_ln_abd"])
    assert reasons("nih_ln_abd", archives["nih_ln_abd"]) == {
        "ABD_LYMPH_001": None,
        "ABD_LYMPH_002": None,
        "ABD_LYMPH_010": Reason.MASK_MISSING,
    }
    case = found["ABD_LYMPH_002"]
    assert len(case.slices) == 40 and case.mask is not None
    assert not any("seg" in path.as_posix() for path in case.slices)


def test_two_parts_of_one_collection_in_one_folder(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    raw = copy(archives, "nih_ln_abd", tmp_path)
    shutil.copytree(archives["nih_ln_med"], raw, dirs_exist_ok=True)
    for source, part in (("nih_ln_abd", "ABD"), ("nih_ln_med", "MED")):
        found = cases(source, raw)
        others = found.pop(f"{source}_unplaced")
        assert {name[:3] for name in found} == {part}
        assert others.problem is not None and others.problem[0] is Reason.NOT_ANNOTATED
        assert "CT series, such as 1." in others.problem[1]


def test_folders_named_by_uids_are_told_by_a_fitting_patient_id(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    raw = copy(archives, "nih_ln_abd", tmp_path)
    for number, folder in enumerate(sorted((raw / "CT Lymph Nodes").iterdir())):
        folder.rename(raw / f"1.2.3.{number}")
    assert reasons("nih_ln_abd", raw)["ABD_LYMPH_001"] is None
    for path in (raw / "1.2.3.0").rglob("*.dcm"):
        data = pydicom.dcmread(path)
        data.PatientID = "Doe 1 ABD_LYMPH_001"  # fits the pattern, but not as a whole
        data.save_as(path)
    assert reasons("nih_ln_abd", raw)["ABD_LYMPH_001"] is Reason.IMAGE_MISSING


def test_two_series_of_one_case(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = copy(archives, "nih_ln_abd", tmp_path)
    other = next((raw / "CT Lymph Nodes/ABD_LYMPH_010").rglob("abdominal*-26828"))
    shutil.copytree(other, raw / "CT Lymph Nodes/ABD_LYMPH_002/again")
    assert reasons("nih_ln_abd", raw)["ABD_LYMPH_002"] is Reason.AMBIGUOUS_FILES


def test_a_mask_that_leads_out_of_the_root(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = copy(archives, "nih_ln_abd", tmp_path)
    mask = raw / "MED_ABD_LYMPH_MASKS/ABD_LYMPH_002/ABD_LYMPH_002_mask.nii.gz"
    mask.rename(tmp_path / "outside.nii.gz")
    mask.symlink_to(tmp_path / "outside.nii.gz")
    assert reasons("nih_ln_abd", raw)["ABD_LYMPH_002"] is Reason.PATH_LEAVES_ROOT
    mask.unlink()
    mask.symlink_to(mask)
    assert reasons("nih_ln_abd", raw)["ABD_LYMPH_002"] is Reason.UNREADABLE


def test_a_damaged_slice_fails_its_series(archives: dict[str, Path], tmp_path: Path) -> None:
    """Above all one at an end, whose lack no gap would show."""
    raw = copy(archives, "nih_ln_abd", tmp_path)
    folder = next((raw / "CT Lymph Nodes/ABD_LYMPH_002").rglob("abdominal*-26828"))
    last = max(folder.iterdir())
    last.write_bytes(last.read_bytes()[:140])
    assert reasons("nih_ln_abd", raw)["ABD_LYMPH_002"] is Reason.UNREADABLE


def test_readings(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = copy(archives, "lidc_idri", tmp_path)
    found = cases("lidc_idri", raw)
    assert sorted(len(case.annotations) for case in found.values()) == [0, 1, 1]
    assert sum(case.problem is None for case in found.values()) == 2
    shutil.rmtree(raw / "LIDC-IDRI" / "LIDC-IDRI-0132")
    assert Reason.IMAGE_MISSING in reasons("lidc_idri", raw).values()


def test_readings_that_differ(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = copy(archives, "lidc_idri", tmp_path)
    (second,) = (raw / "LIDC-IDRI").rglob("*.xml")
    text = second.read_text()
    second.write_text(text.replace("<Version>1.7", "<Version>1.8"))  # the same readings
    report = uls_data.build("lidc_idri", raw, tmp_path / "same")
    assert not [row for row in report.rows if row["reason"] == "ambiguous_files"]
    second.write_text(text.replace("<xCoord>2", "<xCoord>3", 1))
    report = uls_data.build("lidc_idri", raw, tmp_path / "differs")
    assert [row["status"] for row in report.rows if row["reason"] == "ambiguous_files"] == [
        "failed"
    ]


def test_structure_sets(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = copy(archives, "own_dicom", tmp_path)
    assert reasons("own_dicom", raw) == {"p01": None, "p02": None}
    shutil.rmtree(raw / "p02/ct")
    assert Reason.IMAGE_MISSING in reasons("own_dicom", raw).values()
    shutil.rmtree(raw / "p01/rs")
    shutil.rmtree(raw / "p02")
    with pytest.raises(SourceError, match="1 CT series, and nothing"):
        cases("own_dicom", raw)
