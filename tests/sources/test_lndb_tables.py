"""The tables of LNDb: what is accepted, and what is refused with a reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.sources.lndb import table as lndb_tables
from uls_data.sources.lndb.table import Finding, MergedFinding, findings_of
from uls_data.tables import MAXIMUM_BYTES

NODULES = "LNDbID,RadID,FindingID,x,y,z,Nodule,Volume,Text\n"
MERGED = "LNDbID,RadID,RadFindingID,FindingID,x,y,z,AgrLevel,Nodule,Volume,Text\n"
ONE = "1,2,3,-44.5,-119.25,-37.5,1,440.9,5\n"
JOINED = '1,"1,2","4,3",1,-44.5,-119.25,-37.5,2,1,222.5,4.5\n'


def table(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def nodules(folder: Path, text: str | bytes) -> list[Finding]:
    return lndb_tables.read_findings(table(folder, "trainNodules.csv", text), folder)


def merged(folder: Path, text: str | bytes) -> list[MergedFinding]:
    return lndb_tables.read_merged(table(folder, "trainNodules_gt.csv", text), folder)


def test_a_row_of_each_table(tmp_path: Path) -> None:
    assert nodules(tmp_path, NODULES + ONE) == [
        Finding(1, 2, 3, -44.5, -119.25, -37.5, True, 440.9, 5.0)
    ]
    assert merged(tmp_path, MERGED + JOINED) == [
        MergedFinding(1, 1, (1, 2), (4, 3), -44.5, -119.25, -37.5, 2, 222.5, 4.5)
    ]
    scans = table(tmp_path, "trainCTs.csv", "LNDbID,RadN\n1,3\n2,1\n")
    assert lndb_tables.read_scans(scans, tmp_path) == {1: 3, 2: 1}
    folds = table(tmp_path, "trainFolds.csv", "Fold0,Fold1\n3,4\n5,\n")
    assert lndb_tables.read_folds(folds, tmp_path) == {3: 0, 4: 1, 5: 0}
    classes = table(tmp_path, "trainFleischner.csv", "LNDbID,Fleischner\n1,2\n")
    assert lndb_tables.read_fleischner(classes, tmp_path) == {1: 2}


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + (NODULES + ONE).encode(),
        (NODULES + ONE).replace("\n", "\r\n"),
        (NODULES + ONE).removesuffix("\n"),
        NODULES + "\n" + ONE + ",,,,,,,,\n\n",
        NODULES + ONE.replace("1,2,3,", "1.0,2.00, 3 ,"),
        NODULES + ONE.replace("440.9", "4.409e2"),
        NODULES.replace("x,y", "X , y") + ONE,
        NODULES.replace("Text", "Text,FindingCount") + ONE.replace("\n", ",7\n"),
        NODULES.replace("LNDbID", "FindingCount,LNDbID") + "7," + ONE,
        '"' + NODULES.strip().replace(",", '","') + '"\n' + ONE,
    ],
)
def test_copies_that_say_the_same(tmp_path: Path, text: str | bytes) -> None:
    assert nodules(tmp_path, text) == [Finding(1, 2, 3, -44.5, -119.25, -37.5, True, 440.9, 5.0)]


@pytest.mark.parametrize(
    ("volume", "below"),
    [("14.137166941154069", True), ("14.137167", True), ("14.14", False), ("14.680777", False)],
)
def test_the_sentinel_volume(tmp_path: Path, volume: str, below: bool) -> None:
    (finding,) = nodules(tmp_path, NODULES + ONE.replace("440.9", volume))
    assert finding.is_below_3_mm is below


@contextmanager
def refused(reason: Reason, *said: str) -> Iterator[None]:
    with pytest.raises(CaseError) as caught:
        yield
    assert caught.value.reason is reason
    for part in said:
        assert part in caught.value.detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (NODULES + "1,2,3,1,1,1,1,440\n", "line 2: expected 9 cells"),
        (NODULES + ONE.replace("\n", ",9\n"), "found 10 cells"),
        (NODULES + ONE + ONE, "line 3: (1, 2, 3) is in the table twice"),
        (NODULES + ONE.replace("1,2,3,", "0,2,3,"), "LNDbID: expected a whole number from 1"),
        (NODULES + ONE.replace("1,2,3,", "10000,2,3,"), "LNDbID"),
        (NODULES + ONE.replace("1,2,3,", "-1,2,3,"), "found '-1'"),
        (NODULES + ONE.replace("1,2,3,", "1,6,3,"), "RadID: expected a whole number from 1 to 5"),
        (NODULES + ONE.replace("1,2,3,", "1,2,256,"), "FindingID"),
        (NODULES + ONE.replace("1,2,3,", "1,2.5,3,"), "RadID"),
        (NODULES + ONE.replace("1,2,3,", "1,,3,"), "found nothing"),
        (NODULES + ONE.replace("-44.5", "nan"), "x: expected a number from -10000 to 10000"),
        (NODULES + ONE.replace("-44.5", "-inf"), "x:"),
        (NODULES + ONE.replace("-44.5", "1e400"), "x:"),
        (NODULES + ONE.replace("-44.5", "1_0"), "x:"),
        (NODULES + ONE.replace("-44.5", "٣"), "x:"),
        (NODULES + ONE.replace("-44.5", "=1+1"), "x:"),
        (NODULES + ONE.replace("440.9", "-1"), "Volume"),
        (NODULES + ONE.replace("37.5,1", "37.5,2"), "Nodule"),
        (NODULES + ONE.replace(",5\n", ",6\n"), "Text"),
        (NODULES + ONE.replace("-44.5", '"-44.5\n"x'), "no CSV"),
        (NODULES + '"' + "x" * 200_000 + '"', "no CSV"),
        ("LNDbID,RadID\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_rows_that_cannot_be_used(tmp_path: Path, text: str | bytes, said: str) -> None:
    with refused(Reason.ANNOTATION_UNREADABLE, "trainNodules.csv", said):
        nodules(tmp_path, text)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (JOINED.replace('"4,3"', "4"), "RadID names 2 readers, RadFindingID 1"),
        (JOINED.replace('"1,2"', '"1,"'), "RadID"),
        (JOINED.replace(",2,1,222.5", ",3,1,222.5"), "AgrLevel: expected a whole number from 0 to"),
        (JOINED.replace(",2,1,222.5", ",0,1,222.5"), "AgrLevel is 0, which Nodule contradicts"),
        (JOINED.replace(",2,1,222.5", ",2,0,222.5"), "contradicts"),
        (JOINED.replace('"1,2","4,3"', '"1,1","4,4"'), "(1, 1, 4) is in the table twice"),
        (JOINED + JOINED.replace('"4,3",1', '"5,6",1'), "(1, 1) is in the table twice"),
        (JOINED + JOINED.replace('"4,3",1', '"5,3",2'), "(1, 2, 3) is in the table twice"),
    ],
)
def test_joined_rows_that_cannot_be_used(tmp_path: Path, row: str, said: str) -> None:
    with refused(Reason.ANNOTATION_UNREADABLE, "trainNodules_gt.csv", said):
        merged(tmp_path, MERGED + row)


def test_candidates_are_no_truth(tmp_path: Path) -> None:
    candidates = "LNDbID,FindingID,x,y,z\n6,1,1,1,1\n"
    with refused(Reason.NOT_TRAINING_TRUTH, "testNodules.csv", "decoys"):
        lndb_tables.read_findings(table(tmp_path, "testNodules.csv", candidates), tmp_path)
    with refused(Reason.NOT_TRAINING_TRUTH, "RadID 0 times"):
        nodules(tmp_path, candidates)  # the same under the name of truth
    with refused(Reason.NOT_TRAINING_TRUTH, "LNDbID 2 times"):
        nodules(tmp_path, NODULES.replace("Text", "LNDbID") + ONE)
    with refused(Reason.NOT_TRAINING_TRUTH, "separated by commas"):
        nodules(tmp_path, (NODULES + ONE).replace(",", ";"))
    with refused(Reason.NOT_TRAINING_TRUTH):
        nodules(tmp_path, "")


def test_messages_hold_no_words_of_a_table(tmp_path: Path) -> None:
    with pytest.raises(CaseError) as caught:
        nodules(tmp_path, NODULES + ONE.replace("-44.5", "Doe John"))
    assert "Doe" not in str(caught.value)
    assert "text of 8 characters" in caught.value.detail
    assert str(tmp_path) not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "trainNodules.csv"
    with refused(Reason.UNREADABLE, "found nothing"):
        lndb_tables.read_findings(path, tmp_path)
    os.mkfifo(path)
    with refused(Reason.UNREADABLE, "a special file"):
        lndb_tables.read_findings(path, tmp_path)
    path.unlink()
    path.mkdir()
    with refused(Reason.UNREADABLE, "a folder"):
        lndb_tables.read_findings(path, tmp_path)
    path.rmdir()
    with path.open("wb") as file:
        file.truncate(MAXIMUM_BYTES + 1)
    with refused(Reason.TOO_LARGE, "trainNodules.csv"):
        lndb_tables.read_findings(path, tmp_path)


def finding(reader: int, number: int, *, nodule: bool = True) -> Finding:
    return Finding(1, reader, number, 0, 0, 0, nodule, 100, 5)


def joined(readers: tuple[int, ...], numbers: tuple[int, ...], level: int) -> MergedFinding:
    return MergedFinding(1, 1, readers, numbers, 0, 0, 0, level, 100, 5)


def test_rows_of_one_scan(tmp_path: Path) -> None:
    ours = [finding(1, 4), finding(2, 3, nodule=False)]
    other = Finding(2, 1, 4, 0, 0, 0, True, 100, 5)
    join = joined((1, 2), (4, 3), 1)
    assert findings_of(1, [*ours, other], [join]) == (ours, [join])
    assert findings_of(3, [*ours, other], [join]) == ([], [])


@pytest.mark.parametrize(
    ("ours", "join", "said"),
    [
        ([finding(1, 4)], joined((1, 2), (4, 3), 2), "joins finding 3 of reader 2"),
        ([finding(1, 4), finding(1, 5)], joined((1,), (4,), 1), "finding 5 of reader 1"),
        ([finding(1, 4), finding(2, 3)], joined((1, 2), (4, 3), 1), "AgrLevel 1"),
    ],
)
def test_tables_that_do_not_belong_together(
    ours: list[Finding], join: MergedFinding, said: str
) -> None:
    with refused(Reason.ANNOTATION_MISMATCH, said):
        findings_of(1, ours, [join])
