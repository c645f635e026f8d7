"""Headers made to confuse two readers: no file outside the raw root is ever read for one."""

from __future__ import annotations

import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from makers.headers import PAYLOAD, metaimage, nrrd, put

import uls_data
from demo.files import write_itk
from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.recipe import recipe_template
from uls_data.volumes import read_volume
from uls_data.volumes.metaheader import voxel_files

COUNT = 300
SECRET = b"not yours " * 200
LOCAL = bytes(range(120))
_OPENED: list[Path] = []
_WATCHED: list[Path] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Remember what is opened below the watched folder; a hook of this kind stays for good."""
    if event == "open" and _WATCHED and isinstance(arguments[0], (str, bytes)):
        path = Path(os.fsdecode(arguments[0]))
        if path.is_relative_to(_WATCHED[0]):
            _OPENED.append(path.resolve())


@pytest.fixture(scope="session")
def audit() -> None:
    sys.addaudithook(_audit)


@contextmanager
def watched(folder: Path, seconds: int = 60) -> Iterator[list[Path]]:
    """Files opened below a folder; fails where one of them never ends."""
    _OPENED.clear()
    _WATCHED[:] = [folder]
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"longer than {seconds} s"))
    signal.alarm(seconds)
    try:
        yield _OPENED
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        _WATCHED.clear()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Raw root with a voxel file, and beside it what nobody may read."""
    folder = tmp_path / "root"
    (folder / "sub").mkdir(parents=True)
    put(tmp_path, "secret", SECRET)
    put(tmp_path, "secret.raw", SECRET)
    put(folder, "inside.raw", PAYLOAD)
    (folder / "link.raw").symlink_to(tmp_path / "secret")
    (folder / "far").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe.raw")
    return folder


def _targets(root: Path) -> list[str]:
    outside = str(root.parent / "secret")
    return [
        *(outside, "../secret", "../secret.raw", "link.raw", "far/secret", "./sub/../../secret"),
        *(f"//{outside}", f"{root}/../secret", "../../../../../../../../../../etc/passwd"),
        *("/dev/zero", "/proc/self/environ", "pipe.raw", "loop", "sub", "", ".", "-", "~/secret"),
        *("inside.raw", "./inside.raw", "sub/../inside.raw", "LOCAL", "local", "LIST", "LIST 2D"),
        *("%s", "../secre%c 116 116 1", "LIST\n../secret\n../secret\n../secret", "SKIPLIST 3"),
        *(f"inside.raw\0{outside}", f"{outside}\0.raw", f"inside.raw\r{outside}"),
        *(f"inside.raw\nElementDataFile = {outside}", f"inside.raw\ndata file: {outside}"),
    ]


_META_KEYS = (
    *(
        "ElementDataFile",
        "ELEMENTDATAFILE",
        "elementdatafile",
        "Element Data File",
        " ElementDataFile",
    ),
    *("ElementDataFile\t", "\u00a0ElementDataFile", "ElementDataFile\0", "Element\u200bDataFile"),
    *("Comment = x\rElementDataFile", "Comment\nElementDataFile", "#ElementDataFile"),
    *("\x0bElementDataFile", "Comment = \x85ElementDataFile", "=\nElementDataFile", "DataFile"),
)
_META_SIGNS = (" = ", "=", " : ", ":", "\t=\t", " == ", " =: ", " := ", " ", "\n= ", "\u2028= ")
_NRRD_KEYS = (
    *("data file", "datafile", "Data File", "DATAFILE", "data  file", "data\tfile", " data file"),
    *(
        "data file ",
        "d ata file",
        "# x\rdata file",
        "content: x\rdata file",
        "content: x\x0bdata file",
    ),
    *(
        "note:=x\rdata file",
        "note:=\\ndata file",
        "data file:=x\ndata file",
        "\u212ainds: x\ndata file",
    ),
    *("data\u00a0file", "data file\0", "#data file", "x: data file", "x:=data file"),
)
_NRRD_SIGNS = (": ", ":", ":=", " : ", ":  ", ":\t", "=", " = ", ": :=", ":= : ", ":\n")
_NOTES = (
    *("Comment = x", "HeaderSize = 0", "HeaderSize = -1", "BinaryData = True", "byte skip: -1"),
    *("CompressedData = False", "line skip: 1", "encoding: raw", "encoding: text", "", " ", "\r"),
    *("data file:=decoy", "content: x", "NDims = 3", "dimension: 3", "ElementType = MET_UCHAR"),
)  # fmt: skip


def _confusing(rng: random.Random, root: Path) -> tuple[str, bytes]:
    """Name and bytes of one file whose header names voxel files in odd ways."""
    form = rng.choice(("x.mha", "x.mhd", "x.nrrd", "sub/x.mhd"))
    text = form.endswith(".nrrd")
    keys, signs = (_NRRD_KEYS, _NRRD_SIGNS) if text else (_META_KEYS, _META_SIGNS)
    whole = nrrd(payload=b"", type="uchar", sizes="5 4 6", endian=None)
    if not text:
        whole = metaimage(payload=b"", kind="MET_UCHAR", sizes="5 4 6")
    lines = whole.decode().splitlines()[: -1 if rng.random() < 0.9 else None]
    for _ in range(rng.choice((1, 1, 2, 3))):
        plain = rng.random() < 0.4
        key, sign = (keys[0], signs[0]) if plain else (rng.choice(keys), rng.choice(signs))
        line = key + sign + rng.choice(_targets(root))
        at = len(lines) if rng.random() < 0.7 else rng.randrange(1, len(lines) + 1)
        lines.insert(at, line)
    if rng.random() < 0.3:
        lines.insert(rng.randrange(1, len(lines) + 1), rng.choice(_NOTES))
    lines += [""] if text else [f"{keys[0]} = LOCAL"] if rng.random() < 0.3 else []
    end = rng.choice(("\n",) * 8 + ("\r\n", "\r"))
    return form, "".join(line + end for line in lines).encode("utf-8", "surrogateescape") + LOCAL


def test_no_header_leads_out_of_the_root(root: Path, audit: None) -> None:
    reasons: Counter[Reason | None] = Counter()
    for number in range(COUNT):
        name, data = _confusing(random.Random(f"confusing {number}"), root)
        path = put(root, name, data)
        with watched(root.parent) as opened:
            try:
                files = voxel_files(root, Path(name))
                volume = read_volume(path, root)
            except CaseError as error:
                reasons[error.reason] += 1
                assert error.detail
            else:
                reasons[None] += 1
                voxels = np.asarray(volume.stored).tobytes("F")
                assert voxels in PAYLOAD or voxels in data, number
                assert b"yours" not in voxels
            assert opened and all(file.is_relative_to(root) for file in opened), (number, data)
            assert all((root / file).resolve().is_relative_to(root) for file in files)
    wanted = {None, Reason.PATH_LEAVES_ROOT, Reason.UNREADABLE, Reason.UNSUPPORTED_FORMAT}
    assert wanted <= set(reasons) and reasons[None] >= COUNT // 20, reasons


TWICE = {
    "capitals first": "ELEMENTDATAFILE = LOCAL\nElementDataFile = ../../secret",
    "capitals last": "ElementDataFile = ../../secret\nELEMENTDATAFILE = LOCAL",
    "spaces": "Element Data File = LOCAL\nElementDataFile = ../../secret",
    "colon": "ElementDataFile : ../../secret",
    "comment": "Comment = x\rElementDataFile = ../../secret\rComment = LOCAL",
    "data file: twice": "DATA FILE: ../images/b.raw\ndata file: ../../secret",
    "data file: no space": "data file:../../secret",
    "data file: a note": "data file:=../images/b.raw\ndata file: ../../secret",
    "data file: CR": "content: x\rdata file: ../../secret",
}


@pytest.mark.parametrize("form", sorted(TWICE))
def test_a_build_gives_a_failed_row(tmp_path: Path, form: str, audit: None) -> None:
    raw = tmp_path / "raw"
    put(tmp_path, "secret", SECRET)
    image = metaimage(kind="MET_UCHAR", sizes="12 12 8", payload=b"")
    name = "a.mhd"
    if form.startswith("data file"):
        name = "a.nrrd"
        image = nrrd(type="uchar", sizes="12 12 8", endian=None, payload=b"")
    lines = image.decode().splitlines()[:-1]
    mask = np.zeros((12, 12, 8), dtype=np.uint8)
    mask[2:10, 2:10, 1:7] = 1
    write_itk(raw / "masks" / "a.nrrd", mask, np.diag([-1.0, -1.0, 1.0, 1.0]))
    (raw / "images").mkdir()
    put(raw / "images", "b.raw", bytes(12 * 12 * 8))
    put(raw / "images", name, "\n".join([*lines, TWICE[form], ""]).encode() + b"\n" * 2000)
    recipe = put(
        tmp_path, "mine.yaml", yaml.safe_dump(yaml.safe_load(recipe_template("mine"))).encode()
    )
    with watched(tmp_path) as opened:
        report = uls_data.build(recipe, raw, tmp_path / "out", workers=0)
        seen = [file.name for file in opened]
    (row,) = report.rows
    assert row["status"] == "failed"
    assert row["reason"] in (Reason.PATH_LEAVES_ROOT, Reason.UNREADABLE)
    assert name in row["detail"] and "secret" not in seen
    assert name in seen and not list((tmp_path / "out").rglob("*.nii.gz"))
