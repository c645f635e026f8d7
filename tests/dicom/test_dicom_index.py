"""Which DICOM series lie below a root, and what a cache of that may hold."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.dicom import FRAME, PATIENT_ID, SERIES, STUDY, one_file, put, write_series
from pydicom import uid

from uls_data.dicom import inventory as dicom_index
from uls_data.dicom.header import read_header
from uls_data.dicom.inventory import find_series
from uls_data.errors import SourceError
from uls_data.outcome import Reason
from uls_data.volumes.raw_root import RawRoot

VOLUME = np.zeros((5, 4, 4), np.uint16)


def test_files_are_known_by_content(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    for number, name in enumerate(["b/IM1", "a/2.dcm", "a/3.txt", "a/4.DCM"], start=1):
        put(root / name, one_file(number))
    put(root / "no_preamble.dcm", one_file(5)[132:])
    put(root / "no_preamble", one_file(6)[132:])
    put(root / ".hidden/7.dcm", one_file(7))
    put(root / "out/8.dcm", one_file(8))
    put(root / "seg.dcm", one_file(9, SeriesInstanceUID="1.5", Modality="SEG"))
    put(root / "notes.dcm", b"no DICOM at all")
    put(root / "empty.dcm", b"")
    (root / "folder.dcm").mkdir()
    os.mkfifo(root / "fifo.dcm")
    put(tmp_path / "outside/10.dcm", one_file(10))
    (root / "outside").symlink_to(tmp_path / "outside")
    (root / "11.dcm").symlink_to(tmp_path / "outside/10.dcm")
    (root / "12.dcm").symlink_to(root / "a/2.dcm")
    (root / "again").symlink_to(root)
    (root / "13.dcm").symlink_to("13.dcm")
    (root / "a/nowhere.DCM").symlink_to(tmp_path / "raw/nothing.dcm")
    (root / "b/IM2").symlink_to(root / "b/IM2")
    (root / "out.txt").symlink_to(tmp_path / "outside/10.dcm")  # no word that it is DICOM
    raw = RawRoot(root, root / "out")
    unplaced, first, second = find_series(raw)
    assert sorted(raw.unlisted) == ["b/IM2", "outside"]
    lost = ["11.dcm", "13.dcm", "a/nowhere.DCM"]
    assert unplaced.files == tuple(map(Path, sorted([*lost, "empty.dcm", "notes.dcm"])))
    told = {detail.split()[0].rstrip(":"): (reason, detail) for reason, detail in unplaced.problems}
    assert told["11.dcm"][0] is Reason.PATH_LEAVES_ROOT
    assert [told[name][0] for name in lost[1:]] == [Reason.UNREADABLE] * 2
    assert "not there" in told["a/nowhere.DCM"][1]
    assert str(tmp_path) not in str(told)
    assert first.files == tuple(
        map(Path, ["12.dcm", "a/3.txt", "a/4.DCM", "b/IM1", "no_preamble.dcm"])
    )
    assert (first.series_instance_uid, first.study_instance_uid) == (SERIES, STUDY)
    assert (first.modality, first.frame_of_reference_uid) == ("CT", FRAME)
    assert (first.sop_class_uid, first.patient_key) == (uid.CTImageStorage, PATIENT_ID)
    assert PATIENT_ID not in repr(first)
    assert (second.modality, second.files) == ("SEG", (Path("seg.dcm"),))


def test_copies_count_once_and_others_twice(tmp_path: Path) -> None:
    put(tmp_path / "b/1.dcm", one_file(1))
    put(tmp_path / "a/1.dcm", one_file(1))
    put(tmp_path / "a/2.dcm", one_file(1, SeriesDescription="not the same file"))
    (series,) = find_series(RawRoot(tmp_path))
    assert series.files == (Path("a/1.dcm"), Path("a/2.dcm"))


def test_what_names_no_series_does_not_vanish(tmp_path: Path) -> None:
    put(tmp_path / "a.dcm", one_file(SeriesInstanceUID=""))
    put(tmp_path / "b.dcm", one_file()[:400])
    put(tmp_path / "c.dcm", one_file(Modality="MUSTER"))
    unplaced, series = find_series(RawRoot(tmp_path))
    assert unplaced.files == (Path("a.dcm"), Path("b.dcm"))
    assert (unplaced.series_instance_uid, unplaced.modality) == ("", "")
    assert series.modality == ""
    with pytest.raises(SourceError):
        find_series(RawRoot(tmp_path / "absent"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that the index opens."""
    names: list[str] = []

    def spy(path: Path, name: str, wanted: frozenset[int]) -> Any:
        names.append(name)
        return read_header(path, name, wanted)

    monkeypatch.setattr(dicom_index, "read_header", spy)
    return names


def test_a_cache_spares_every_file(tmp_path: Path, opened: list[str]) -> None:
    root, cache = tmp_path / "raw", tmp_path / "raw" / "index.jsonl"
    write_series(root, VOLUME)
    put(root / "notes.txt", b"something else")
    first = find_series(RawRoot(root), cache=cache)
    assert len(opened) == 5
    stamp = cache.stat().st_mtime_ns
    assert (
        find_series(RawRoot(root), cache=cache) == first == find_series(RawRoot(root), cache=cache)
    )
    assert len(opened) == 5
    assert cache.stat().st_mtime_ns == stamp
    put(root / "0002.dcm", one_file(2, SeriesInstanceUID="1.7"))
    (root / "0003.dcm").unlink()
    assert [len(series.files) for series in find_series(RawRoot(root), cache=cache)] == [2, 1]
    assert opened[5:] == ["0002.dcm"]


def test_a_cache_holds_no_patient_but_a_public_one_file(tmp_path: Path, opened: list[str]) -> None:
    root, cache = tmp_path / "raw", tmp_path / "cache.jsonl"
    put(root / "a.dcm", one_file(1))
    put(root / "b.dcm", one_file(2, SeriesInstanceUID="1.5", PatientID="Muster, Max"))
    for _ in range(2):
        assert [s.patient_key for s in find_series(RawRoot(root), cache=cache)] == [None, None]
    assert PATIENT_ID.encode() not in cache.read_bytes()
    for _ in range(2):
        series = find_series(RawRoot(root), cache=cache, patient_pattern=r"MADE-UP-\d{4}")
        assert [s.patient_key for s in series] == [PATIENT_ID, None]
    assert PATIENT_ID.encode() in cache.read_bytes()
    assert b"Muster" not in cache.read_bytes()
    assert len(opened) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda lines: b"",
        lambda lines: b"\xff\x00 no JSON",
        lambda lines: b"[" * 100_000,
        lambda lines: b"\n".join(lines)[:-20],
        lambda lines: b"\n".join([b'["another version",null]', *lines[1:]]),
        lambda lines: b"\n".join([*lines, b"{}"]),
        lambda lines: b"\n".join([*lines, b'["x",1,2,["Muster","1","1","1","1","CT",null]]']),
        lambda lines: b"\n".join([*lines, b'["x",1,2,["1.2","1","1","1","1","Muster",null]]']),
        lambda lines: b"\n".join([*lines, b'["x",1,2,["1.2","1","1","1","1","CT","Muster"]]']),
        lambda lines: b"\n".join([*lines, b'["x",1,2,["1.2",3,"1","1","1","CT",null]]']),
        lambda lines: b"\n".join([*lines, b'["x",1,2,["1.2","1"]]']),
        lambda lines: b"\n".join([*lines, b'[["x"],1,2,null]']),
    ],
)
def test_a_damaged_cache_is_ignored(
    tmp_path: Path, opened: list[str], damage: Callable[[list[bytes]], bytes]
) -> None:
    root, cache = tmp_path / "raw", tmp_path / "cache.jsonl"
    write_series(root, VOLUME)
    expected = find_series(RawRoot(root), cache=cache)
    whole = cache.read_bytes()
    cache.write_bytes(damage(whole.splitlines()))
    assert find_series(RawRoot(root), cache=cache) == expected
    assert len(opened) == 8
    assert cache.read_bytes() == whole
    assert [json.loads(line) for line in whole.splitlines()]
