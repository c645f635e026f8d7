"""Structure sets that are damaged, or mean harm."""

from __future__ import annotations

import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from makers.rtstruct import (
    AFFINE,
    MARK,
    SHAPE,
    TWO,
    encoded,
    points_of,
    read,
    refusal,
    structure_set,
)
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from uls_data.dicom import objects as dicom_object
from uls_data.dicom import rtstruct
from uls_data.dicom.rtstruct import rasterise
from uls_data.errors import CaseError
from uls_data.outcome import Reason


def damaged(data: bytes, seed: int) -> bytes:
    """A file with a few of its bytes changed, cut out, put in twice, or other lengths."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(132, len(changed) - 8))
        kind = rng.integers(6)
        if kind == 0:
            changed[at] = rng.integers(256)
        elif kind == 1:
            changed[at : at + 4] = rng.choice(
                [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xf0\xff\xff\x7f"]
            )
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 40))]
        elif kind == 3:
            changed[at:at] = changed[at : at + int(rng.integers(1, 400))]
        elif kind == 4:
            changed[at : at + 8] = rng.bytes(8)
        else:
            del changed[at + int(rng.integers(len(changed) - at)) :]
        if len(changed) < 200:
            break
    return bytes(changed)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_damaged_files(tmp_path: Path, syntax: str, undefined: bool) -> None:
    data = encoded(structure_set(TWO), syntax, undefined)
    outcomes: dict[str, int] = {}
    tracemalloc.start()
    try:
        for seed in range(25):
            try:
                found = read(tmp_path, damaged(data, seed))
                said = repr(found)
                said += repr([rasterise(roi.contours, SHAPE, AFFINE) for roi in found.rois])
                outcomes["read"] = outcomes.get("read", 0) + 1
            except CaseError as error:
                said = error.detail
                outcomes[error.reason] = outcomes.get(error.reason, 0) + 1
            assert MARK[:6] not in said and MARK[-6:] not in said
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()
    assert len(outcomes) > 1


def test_files_that_would_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtstruct, "MAXIMUM_BYTES", 1 << 20)
    monkeypatch.setattr(dicom_object, "_MAXIMUM_READS", 1 << 12)
    monkeypatch.setattr(dicom_object, "_MAXIMUM_NUMBERS_BYTES", 1 << 12)
    good = encoded(structure_set(TWO))
    assert refusal(tmp_path, good + bytes(1 << 20)).reason is Reason.TOO_LARGE
    # A megabyte of deflate holds a gigabyte of zeros.
    deflated = encoded(structure_set(TWO), DeflatedExplicitVRLittleEndian)
    start = deflated.index(b"1.2.840.10008.1.2.1.99") + 22
    start += 8 + struct.unpack_from("<H", deflated, start + 6)[0]  # implementation class
    start += 8 + struct.unpack_from("<H", deflated, start + 6)[0]  # implementation version
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = packer.compress(bytes(1 << 24)) + packer.flush()
    tracemalloc.start()
    assert refusal(tmp_path, deflated[:start] + zeros).reason is Reason.TRUNCATED_FILE
    items = (
        struct.pack("<HH2sHL", 0x3006, 0x39, b"SQ", 0, 80_000) + 10_000 * b"\xfe\xff\0\xe0\0\0\0\0"
    )
    meta = good[: good.index(b"\x08\0\x16\0UI")]
    known = good[len(meta) : good.index(b"\x08\0\x50\0SH")]
    assert refusal(tmp_path, meta + known + items).reason is Reason.TOO_LARGE
    elements = b"".join(struct.pack("<HH2sH", 0x3006, n, b"LO", 0) for n in range(10_000))
    assert refusal(tmp_path, meta + known + elements).reason is Reason.TOO_LARGE
    assert tracemalloc.get_traced_memory()[1] < 1 << 25
    tracemalloc.stop()
    ds = structure_set(TWO)
    points_of(ds).ContourData = ["1"] * 6000
    assert refusal(tmp_path, encoded(ds)).reason is Reason.TOO_LARGE


def test_pydicom_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ds = structure_set(TWO)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.SpecificCharacterSet = MARK
        data = encoded(ds)
        caplog.clear()
    found = read(tmp_path, data)  # a warning would fail the test
    assert len(found.rois) == 2
    assert caplog.records == []
