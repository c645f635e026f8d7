"""What a source says twice is compared, and what is there twice is told apart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pydicom
import pytest
import yaml

import uls_data
from demo.sources import make_archives


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_archives(tmp_path_factory.mktemp("raw"), only=["lidc_idri", "own_dicom"])


def twice(archives: dict[str, Path], tmp_path: Path, second_date: str) -> Path:
    """Two structure sets of one series, the second written at a date of its own."""
    raw = Path(shutil.copytree(archives["own_dicom"] / "p01", tmp_path / "raw/p01")).parent
    shutil.copy(archives["own_dicom"] / "own_dicom.yaml", tmp_path / "own.yaml")
    (first,) = (path for path in (raw / "p01/rs").rglob("*") if path.is_file())
    data = pydicom.dcmread(first)
    data.StructureSetDate, data.StructureSetTime = "20200101", "120000"
    data.save_as(first)
    data.StructureSetDate = second_date
    data.SOPInstanceUID = "2.25.77"
    data.file_meta.MediaStorageSOPInstanceUID = "2.25.77"
    (raw / "p01/later").mkdir()
    data.save_as(raw / "p01/later" / first.name)
    return raw


def rows(raw: Path, several: str) -> list[dict[str, Any]]:
    recipe = yaml.safe_load((raw.parent / "own.yaml").read_text())
    recipe["reader"]["several"] = several
    path = raw.parent / f"{several}.yaml"
    path.write_text(yaml.safe_dump(recipe))
    report = uls_data.build(path, raw, raw.parent / f"out-{several}", labels_only=True)
    return [dict(row) for row in report.rows]


def test_one_lesion_of_two_objects_is_flagged_and_named(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    raw = twice(archives, tmp_path, "20210101")
    found = [row for row in rows(raw, "all") if row["status"] == "ok"]
    assert found and all("duplicate_mask" in row["qc_flags"] for row in found)
    names = [row["source_lesion_id"] for row in found]
    assert len(set(names)) == len(names) and any(name.startswith("later/") for name in names)
    assert {Path(row["label_source"]).parent.name for row in found} == {"later", "rs"}
    assert len({row["label_source_sha256"] for row in found}) == 2


def test_the_latest_object_is_read_alone(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = twice(archives, tmp_path, "20210101")
    found = [row for row in rows(raw, "latest") if row["status"] == "ok"]
    assert {Path(row["label_source"]).parent.name for row in found} == {"later"}
    assert not any("duplicate_mask" in row["qc_flags"] for row in found)
    assert {row["reason"] for row in rows(raw, "fail")} == {"ambiguous_files"}


@pytest.mark.parametrize("date", ["", "20200101"])
def test_which_is_the_latest_must_be_known(
    archives: dict[str, Path], tmp_path: Path, date: str
) -> None:
    raw = twice(archives, tmp_path, date)
    if not date:
        (path,) = (raw / "p01/later").iterdir()
        data = pydicom.dcmread(path)
        for keyword in ("StructureSetDate", "ContentDate", "InstanceCreationDate", "SeriesDate"):
            if keyword in data:
                delattr(data, keyword)
        data.save_as(path)
    (row,) = rows(raw, "latest")
    assert row["reason"] == "ambiguous_files" and "written last" in row["detail"]


def test_text_burned_into_the_pixels_is_flagged(archives: dict[str, Path], tmp_path: Path) -> None:
    raw = twice(archives, tmp_path, "20210101")
    one = min(path for path in (raw / "p01/ct").rglob("*") if path.is_file())
    data = pydicom.dcmread(one)
    data.BurnedInAnnotation = "YES"
    data.save_as(one)
    assert all("burned_in_annotation" in row["qc_flags"] for row in rows(raw, "latest"))


def test_an_outline_whose_uid_and_position_differ_is_flagged(
    archives: dict[str, Path], tmp_path: Path
) -> None:
    raw = Path(shutil.copytree(archives["lidc_idri"], tmp_path / "raw", symlinks=True))
    before = uls_data.build("lidc_idri", raw, tmp_path / "before", labels_only=True)
    assert "uid_contradicts_position" not in before.flags
    for path in (raw / "LIDC-IDRI").rglob("*.xml"):
        text = path.read_text()
        start = text.index("<imageZposition>") + len("<imageZposition>")
        stop = text.index("<", start)
        path.write_text(f"{text[:start]}{float(text[start:stop]) + 5}{text[stop:]}")
    for path in raw.rglob("*.xml"):
        if "LIDC-IDRI" not in path.relative_to(raw).parts[0]:
            path.unlink()
    after = uls_data.build("lidc_idri", raw, tmp_path / "after", labels_only=True)
    assert after.flags["uid_contradicts_position"]
