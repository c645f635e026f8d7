"""Which files below a folder are LNDb."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from uls_data.errors import CaseError, SourceError
from uls_data.outcome import Reason
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.lndb.find import (
    LndbArchive,
    find_lndb,
    lndb_id_of,
    read_findings_of,
)
from uls_data.volumes.raw_root import RawRoot

TABLES = {
    "trainCTs.csv": "LNDbID,RadN\n1,2\n3,1\n",
    "trainNodules.csv": (
        "LNDbID,RadID,FindingID,x,y,z,Nodule,Volume,Text\n1,1,1,0,0,0,1,100,5\n1,2,1,0,0,0,1,90,5\n"
    ),
    "trainNodules_gt.csv": (
        "LNDbID,RadID,RadFindingID,FindingID,x,y,z,AgrLevel,Nodule,Volume,Text\n"
        '1,"1,2","1,1",1,0,0,0,2,1,95,5\n'
    ),
    "trainFolds.csv": "Fold0,Fold1\n1,3\n",
    "trainFleischner.csv": "LNDbID,Fleischner\n1,2\n3,0\n",
}
SCANS = ("LNDb-0001.mhd", "LNDb-0003.mhd", "LNDb-0002.mhd")
MASKS = ("LNDb-0001_rad1.mhd", "LNDb-0001_rad2.mhd", "LNDb-0003_rad1.mhd")


def touch(root: Path, *names: str) -> Path:
    """Create empty files; what is in them decides nothing here."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def archive(
    root: Path, scans: str = "data0", masks: str = "masks", tables: str = "trainset_csv"
) -> Path:
    for folder, names in ((scans, SCANS), (masks, MASKS)):
        for name in names:
            touch(root, f"{folder}/{name}", f"{folder}/{name[:-4]}.raw")
    for name, text in TABLES.items():
        (root / tables).mkdir(parents=True, exist_ok=True)
        (root / tables / name).write_text(text)
    return root


def case(found: LndbArchive, number: int) -> CaseFiles:
    return next(one for one in found.cases if one.case_id == f"LNDb_{number:04d}")


def reason(found: LndbArchive, number: int) -> Reason | None:
    problem = case(found, number).problem
    return problem[0] if problem else None


@pytest.mark.parametrize("scans", ["data0", "data", "data/data3", "."])
@pytest.mark.parametrize("masks", ["masks", "masks/masks", "."])
@pytest.mark.parametrize("tables", ["trainset_csv", "trainset_csv/trainset_csv", "."])
def test_every_layout(tmp_path: Path, scans: str, masks: str, tables: str) -> None:
    found = find_lndb(RawRoot(archive(tmp_path, scans, masks, tables)))
    assert [one.case_id for one in found.cases] == ["LNDb_0001", "LNDb_0003"]
    assert all(one.problem is None for one in found.cases)
    first = case(found, 1)
    assert first.image == Path(scans) / "LNDb-0001.mhd"
    assert first.instances == (
        (1, 1, Path(masks) / "LNDb-0001_rad1.mhd"),
        (1, 2, Path(masks) / "LNDb-0001_rad2.mhd"),
    )
    assert first.annotations == (
        Path(tables) / "trainNodules.csv",
        Path(tables) / "trainNodules_gt.csv",
    )
    assert found.unlabelled == (Path(scans) / "LNDb-0002.mhd",)  # a test scan is not a case
    assert found.readers == {1: 2, 3: 1}
    assert set(found.tables) == set(TABLES)
    assert list(find_lndb(RawRoot(tmp_path)).cases) == list(found.cases)


def test_mac_droppings_and_other_files_are_passed_over(tmp_path: Path) -> None:
    archive(tmp_path)
    touch(tmp_path, "masks/._LNDb-0001_rad1.mhd", "data0/LNDb-0001_seg.mhd", "data0/LNDb-1.mhd")
    touch(tmp_path, "data0/XLNDb-0004_rad1.mhd", "data0/LNDb-0004_rad1.txt", "notes/readme.txt")
    assert [one.case_id for one in find_lndb(RawRoot(tmp_path)).cases] == ["LNDb_0001", "LNDb_0003"]


def test_a_reader_without_a_mask(tmp_path: Path) -> None:
    (archive(tmp_path) / "masks" / "LNDb-0001_rad2.mhd").unlink()
    found = find_lndb(RawRoot(tmp_path))
    assert (reason(found, 1), reason(found, 3)) == (Reason.MASK_MISSING, None)
    problem = case(found, 1).problem
    assert problem is not None
    assert "2 by trainCTs.csv; missing LNDb-0001_rad2.mhd" in problem[1]


def test_a_reader_more_than_the_table_says(tmp_path: Path) -> None:
    touch(archive(tmp_path), "masks/LNDb-0003_rad2.mhd")
    found = find_lndb(RawRoot(tmp_path))
    assert reason(found, 3) is Reason.AMBIGUOUS_FILES
    problem = case(found, 3).problem
    assert problem is not None
    assert "found masks/LNDb-0003_rad2.mhd too" in problem[1]


def test_a_training_scan_without_any_mask_is_no_test_scan(tmp_path: Path) -> None:
    (archive(tmp_path) / "masks" / "LNDb-0003_rad1.mhd").unlink()
    found = find_lndb(RawRoot(tmp_path))
    assert reason(found, 3) is Reason.MASK_MISSING
    assert found.unlabelled == (Path("data0/LNDb-0002.mhd"),)


def test_masks_without_their_scan(tmp_path: Path) -> None:
    (archive(tmp_path) / "data0" / "LNDb-0001.mhd").unlink()
    assert reason(find_lndb(RawRoot(tmp_path)), 1) is Reason.IMAGE_MISSING
    assert reason(find_lndb(RawRoot(tmp_path), need_images=False), 1) is None


def test_masks_of_a_scan_that_the_table_does_not_list(tmp_path: Path) -> None:
    touch(archive(tmp_path), "masks/LNDb-0002_rad1.mhd")
    assert reason(find_lndb(RawRoot(tmp_path)), 2) is Reason.NOT_TRAINING_TRUTH


def test_without_the_list_of_scans_what_lies_there_counts(tmp_path: Path) -> None:
    (archive(tmp_path) / "trainset_csv" / "trainCTs.csv").unlink()
    (tmp_path / "masks" / "LNDb-0001_rad2.mhd").unlink()
    found = find_lndb(RawRoot(tmp_path))
    assert reason(found, 1) is None
    assert found.unlabelled == (Path("data0/LNDb-0002.mhd"),)


@pytest.mark.parametrize(
    "twice", ["data1/LNDb-0001.mhd", "masks/masks/LNDb-0001_rad2.mhd", "data0/LNDb-0001.nii.gz"]
)
def test_a_file_that_lies_there_twice(tmp_path: Path, twice: str) -> None:
    found = find_lndb(RawRoot(touch(archive(tmp_path), twice)))
    assert (reason(found, 1), reason(found, 3)) == (Reason.AMBIGUOUS_FILES, None)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("trainNodules.csv", None, "trainNodules.csv is missing"),
        ("trainNodules_gt.csv", None, "trainNodules_gt.csv is missing"),
        ("trainNodules.csv", "LNDbID,FindingID,x,y,z\n1,1,0,0,0\n", "RadID 0 times"),
        ("trainCTs.csv", "LNDbID,RadN\n1,9\n", "line 2: RadN"),
        ("trainFolds.csv", "Fold0\nx\n", "line 2: fold0"),
        ("trainFleischner.csv", "LNDbID,Fleischner\n1,4\n", "Fleischner"),
    ],
)
def test_a_bad_table_stops_before_any_work(
    tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    path = archive(tmp_path) / "trainset_csv" / name
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(SourceError, match=said):
        find_lndb(RawRoot(tmp_path))


def test_a_table_twice(tmp_path: Path) -> None:
    archive(tmp_path)
    other = tmp_path / "trainNodules.csv"
    other.write_text(TABLES["trainNodules.csv"])
    assert all(one.problem is None for one in find_lndb(RawRoot(tmp_path)).cases)
    other.write_text(TABLES["trainNodules.csv"] + "3,1,1,0,0,0,1,9,5\n")
    with pytest.raises(SourceError, match=r"differ: trainNodules\.csv, trainset_csv/"):
        find_lndb(RawRoot(tmp_path))


def test_no_lndb_here(tmp_path: Path) -> None:
    touch(tmp_path, "data0/LNDb-0001.mhd")
    with pytest.raises(SourceError, match=r"found 1 scans; get it from https://zenodo"):
        find_lndb(RawRoot(tmp_path))
    with pytest.raises(SourceError, match="cannot be read"):
        find_lndb(RawRoot(tmp_path / "absent"))


def test_what_leads_out_of_the_root(tmp_path: Path) -> None:
    outside = touch(tmp_path / "outside", "LNDb-0001_rad2.mhd", "trainFolds.csv")
    root = archive(tmp_path / "raw")
    mask = root / "masks" / "LNDb-0001_rad2.mhd"
    mask.unlink()
    mask.symlink_to(outside / "LNDb-0001_rad2.mhd")
    assert reason(find_lndb(RawRoot(root)), 1) is Reason.PATH_LEAVES_ROOT
    mask.unlink()
    mask.symlink_to(mask)
    assert reason(find_lndb(RawRoot(root)), 1) in (Reason.UNREADABLE, Reason.PATH_LEAVES_ROOT)
    folds = root / "trainset_csv" / "trainFolds.csv"
    folds.unlink()
    folds.symlink_to(outside / "trainFolds.csv")
    with pytest.raises(SourceError, match="leads out of the raw root"):
        find_lndb(RawRoot(root))
    folds.unlink()
    folds.symlink_to(folds)
    with pytest.raises(SourceError, match="leads back to itself"):
        find_lndb(RawRoot(root))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = archive(tmp_path) / "trainset_csv" / "trainNodules.csv"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(SourceError, match="a special file"):
        find_lndb(RawRoot(tmp_path))


def test_the_output_below_the_root_is_not_looked_into(tmp_path: Path) -> None:
    touch(archive(tmp_path), "vois/LNDb-0001.mhd")
    assert reason(find_lndb(RawRoot(tmp_path, tmp_path / "vois")), 1) is None
    assert reason(find_lndb(RawRoot(tmp_path)), 1) is Reason.AMBIGUOUS_FILES


def test_findings_of_a_case(tmp_path: Path) -> None:
    found = find_lndb(RawRoot(archive(tmp_path)))
    ours, joined = read_findings_of(case(found, 1), tmp_path)
    assert [(one.rad_id, one.finding_id) for one in ours] == [(1, 1), (2, 1)]
    assert [one.rad_ids for one in joined] == [(1, 2)]
    assert read_findings_of(case(found, 3), tmp_path) == ([], [])


def test_number_of_a_name() -> None:
    assert lndb_id_of("LNDb_0042") == lndb_id_of("LNDb-0042_rad1.mhd") == 42
    with pytest.raises(CaseError, match="name_not_recognised"):
        lndb_id_of("scan_42")
