"""Hostile tables and file names of LNDb end in CaseError or SourceError, soon and quietly."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from makers.hostile.limits import at_most, peak_bytes

from uls_data.errors import CaseError, SourceError
from uls_data.sources.lndb import table as lndb_tables
from uls_data.sources.lndb.find import find_lndb, lndb_id_of, read_findings_of
from uls_data.volumes.raw_root import RawRoot

CASES = int(os.environ.get("ULS_DATA_HOSTILE_CSV", "100"))
PER_BATCH = 25
SEED = 20231029
MARK = "Zyxwv"  # stands for a name that no message may show
LONGEST_MESSAGE = 1000

NODULES = "LNDbID,RadID,FindingID,x,y,z,Nodule,Volume,Text"
MERGED = "LNDbID,RadID,RadFindingID,FindingID,x,y,z,AgrLevel,Nodule,Volume,Text"
TABLES = {
    "trainCTs.csv": ["LNDbID,RadN", "1,2", "2,1", "3,1"],
    "trainNodules.csv": [
        NODULES,
        "1,1,1,-44.6,-119.0,-37.5,1,440.9,5",
        "1,2,1,-44.2,-119.1,-37.5,1,410.9,4",
        "1,2,2,25.8,-126.9,-45.5,0,14.137166941154069,0",
        "2,1,1,25.8,-126.9,-45.5,1,152.3,4",
    ],
    "trainNodules_gt.csv": [
        MERGED,
        '1,"1,2","1,1",1,-44.4,-119.05,-37.5,2,1,425.9,4.5',
        "1,2,2,2,25.8,-126.9,-45.5,0,0,14.137166941154069,0",
        "2,1,1,1,25.8,-126.9,-45.5,1,1,152.3,4.0",
    ],
    "trainFolds.csv": ["Fold0,Fold1,Fold2,Fold3", "1,2,3,"],
    "trainFleischner.csv": ["LNDbID,Fleischner", "1,2", "2,0", "3,1"],
}
READERS: dict[str, Callable[[Path, Path], object]] = {
    "trainCTs.csv": lndb_tables.read_scans,
    "trainNodules.csv": lndb_tables.read_findings,
    "trainNodules_gt.csv": lndb_tables.read_merged,
    "trainFolds.csv": lndb_tables.read_folds,
    "trainFleischner.csv": lndb_tables.read_fleischner,
}
VALUES = (
    "", " ", "0", "-1", "1.5", "1e3", "99999999999999999999", "9" * 5000, "-0", "+1", "1_0", "0x1",
    "nan", "NaN", "inf", "-inf", "1e999", "-1e999", "1e-999", "1,2", '"1,2"', '"1,,2"', '",1"',
    "=1+1", f'=HYPERLINK("{MARK}")', "+cmd|' /C calc'!A0", "@SUM(1)", MARK, f'"{MARK}\nline"',
    '"\r\n\r\n"', '"', '""', '"""', '"open', "'", "\0", "1\0", "\ufeff1", "\u0661", "\u00bd",
    "\u202e1", "1\u00a0", "\U0001f600", "True", "None", "[1]", "1;2", "1\t2", "x" * 131_000,
    '"' + "x" * 140_000 + '"', "," * 5000, "\r", "\x1a", "\x0b", "1.0", "1.", ".5", "1e0", "- 1",
)  # fmt: skip


def other_value(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    cells = lines[at].split(",")
    cells[rng.randrange(len(cells))] = rng.choice(VALUES)
    lines[at] = ",".join(cells)


def ragged(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    cells = lines[at].split(",")
    lines[at] = ",".join(cells[: rng.randrange(len(cells))] + [""] * rng.randrange(4))


def double(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))


def drop(rng: random.Random, lines: list[str]) -> None:
    del lines[rng.randrange(len(lines))]
    lines += [] if lines else [""]


def swap(rng: random.Random, lines: list[str]) -> None:
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]


def other_separator(rng: random.Random, lines: list[str]) -> None:
    sign = rng.choice((";", "\t", "|", "\0", ",,"))
    lines[:] = [line.replace(",", sign) for line in lines]


def many_rows(rng: random.Random, lines: list[str]) -> None:
    lines += [rng.choice(lines)[:60]] * rng.choice((1000, 120_000))


def other_bytes(rng: random.Random, data: bytes) -> bytes:
    text = data.decode("utf-8", "surrogatepass")
    match rng.randrange(9):
        case 0:
            return text.encode(rng.choice(("utf-16", "utf-32", "utf-16-le", "cp037")), "replace")
        case 1:
            return b"\xef\xbb\xbf" * rng.randrange(1, 4) + data
        case 2:
            at = rng.randrange(len(data) + 1)
            return data[:at] + rng.randbytes(rng.randrange(1, 20)) + data[at:]
        case 3:
            return data[: rng.randrange(len(data) + 1)]
        case 4:
            return data.replace(b"\n", rng.choice((b"\r", b"\r\r\n", b"\0\n", b"", b"\x85")))
        case 5:
            return rng.randbytes(rng.randrange(1, 4000))
        case 6:
            return data + b"\0" * rng.choice((1, 9 << 20))
        case 7:
            return b"PK\x03\x04" + data
        case _:
            return data


CHANGES = (other_value, other_value, other_value, ragged, double, drop, swap, other_separator)


def hostile(rng: random.Random, lines: list[str]) -> bytes:
    """One table with one to four faults."""
    lines = list(lines)
    for _ in range(rng.randrange(1, 4)):
        rng.choice(CHANGES)(rng, lines)
    if rng.random() < 0.03:
        many_rows(rng, lines)
    data = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    return other_bytes(rng, data) if rng.random() < 0.4 else data


def archive(root: Path) -> Path:
    for name, lines in TABLES.items():
        (root / name).write_text("\n".join(lines) + "\n")
    for name in ("LNDb-0001_rad1", "LNDb-0001_rad2", "LNDb-0002_rad1", "LNDb-0003_rad1"):
        (root / f"{name}.mhd").touch()
        (root / f"{name[:9]}.mhd").touch()
    return root


def read_all(root: Path) -> None:
    """Read an archive to the end, whatever it says; only our own errors may come out."""
    for name, read in READERS.items():
        try:
            read(root / name, root)
        except CaseError as error:
            check_message(error.detail, root)
    try:
        cases = find_lndb(RawRoot(root)).cases
    except SourceError as error:
        # It names the folder that the user gave, and nothing else of the machine.
        check_message(str(error).replace(f"--raw {root}", ""), root)
        return
    for case in cases:
        try:
            read_findings_of(case, root)
        except CaseError as error:
            check_message(error.detail, root)


def check_message(message: str, root: Path) -> None:
    assert 0 < len(message) < LONGEST_MESSAGE
    assert str(root) not in message
    assert MARK not in message


@pytest.mark.parametrize("batch", range(-(-CASES // PER_BATCH)))
def test_hostile_tables(batch: int, tmp_path: Path) -> None:
    root = archive(tmp_path)
    before = peak_bytes()
    for number in range(batch * PER_BATCH, min(CASES, (batch + 1) * PER_BATCH)):
        rng = random.Random(SEED + number)
        name = rng.choice(list(TABLES))
        whole = (root / name).read_bytes()
        (root / name).write_bytes(hostile(rng, TABLES[name]))
        with at_most(20, f"table {number}"):
            read_all(root)
        (root / name).write_bytes(whole)
    assert peak_bytes() - before < 1 << 28
    read_all(root)  # what all started from is still good
    assert len(find_lndb(RawRoot(root)).cases) == 3


@pytest.mark.parametrize("value", VALUES)
def test_every_value_in_every_table(value: str, tmp_path: Path) -> None:
    root = archive(tmp_path)
    for name, lines in TABLES.items():
        cells = lines[1].split(",")
        cells[0] = value
        data = "\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n"
        (root / name).write_bytes(data.encode("utf-8", "surrogatepass"))
    with at_most(20, repr(value[:20])):
        read_all(root)


NAMES = [
    b"LNDb-0001\n.mhd", b"LNDb-0001_rad1.mhd\n", b"LNDb--001_rad1.mhd", b"LNDb-00001_rad1.mhd",
    b"LNDb-9999_rad9.mhd", b"LNDb-0000_rad0.mhd", b"LNDb-0001_rad11.mhd", b"LNDb-0001_rad-1.mhd",
    b"LNDb-\xd9\xa1\xd9\xa1\xd9\xa1\xd9\xa1_rad1.mhd", b"LNDb-0001_rad1.mhd.mhd",
    b"LNDb-0001_rad1.mhd.zip", b"\xff\xfeLNDb-0001.mhd", b"lndb-0001_rad1.mhd", b"LNDb-0001_rad1",
    b"LNDb-0001_RAD1.mhd", b"LNDb-0001_rad1 (1).mhd", b"LNDb-0001_rad1.MHD", b".LNDb-0001.mhd",
    b"LNDb-0001_rad1.mhd\x01", b"*.mhd", b"-rf.mhd", b"LNDb-0001_rad1.nii.gz", b"LNDb-0001.nrrd",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("folder", ["masks", "\udcff\n", "LNDb-0001.mhd"])
def test_hostile_names(name: bytes, folder: str, tmp_path: Path) -> None:
    """Other files never take the place of a case, and a doubtful one is a problem of that case."""
    root = archive(tmp_path)
    if folder == "LNDb-0001.mhd":
        (root / folder).unlink()
    (root / folder).mkdir()
    (root / folder / os.fsdecode(name)).touch()
    with at_most(20, repr(name)):
        cases = find_lndb(RawRoot(root)).cases
    assert {case.case_id for case in cases} - {"LNDb_0000", "LNDb_9999"} == {
        "LNDb_0001",
        "LNDb_0002",
        "LNDb_0003",
    }
    for case in cases:
        assert all((root / path).is_relative_to(root) for path in case.files())
        expected = {"LNDb_0001": 2, "LNDb_0002": 1, "LNDb_0003": 1}.get(case.case_id)
        assert case.problem is not None or len(case.instances) == expected


@pytest.mark.parametrize("name", ["", "LNDb", "LNDb-1", "LNDb-000x", "\udcff", "x" * 5000])
def test_names_without_a_number(name: str) -> None:
    with pytest.raises(CaseError, match="name_not_recognised"):
        lndb_id_of(name)
