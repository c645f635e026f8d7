"""Headers of DICOM files: what pydicom reads, whatever nests in them, and within bounds."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from makers.dicom import file_bytes, slice_of
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from uls_data.dicom.elements import Tag
from uls_data.dicom.header import parse_header, read_header
from uls_data.errors import CaseError

PIXELS = np.random.default_rng(5).integers(0, 4000, (35, 37)).astype(np.uint16)
EVERY = frozenset(Tag)
SYNTAXES = [
    *(uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian),
    *(uid.RLELossless, uid.JPEG2000Lossless),
]
REAL_FOLDERS = (
    "ibsi-ct-phantom/dicom",
    "totalsegmentator/example_ct_dicom",
    "dcmqi-liver/ct-3slice",
)


def nested(undefined: bool) -> DicomSequence:
    """A sequence in a sequence, with pixel data inside that are nobody's but an icon's."""
    icon, item = Dataset(), Dataset()
    icon.Rows = icon.Columns = 2
    icon.PixelData = b"\x01\x02\x03\x04"
    icon["PixelData"].VR = "OW"
    icon.is_undefined_length_sequence_item = undefined
    item.IconImageSequence = [icon]
    item["IconImageSequence"].is_undefined_length = undefined
    item.is_undefined_length_sequence_item = undefined
    sequence = DicomSequence([item, Dataset(), item])
    sequence.is_undefined_length = undefined
    return sequence


def agrees_with_pydicom(data: bytes) -> None:
    header = parse_header(data, "a file", EVERY)
    theirs = pydicom.dcmread(BytesIO(data), stop_before_pixels=True, force=True)
    expected = {
        tag: theirs.get_item(tag).value or b""
        for tag in EVERY
        if tag > Tag.TRANSFER_SYNTAX_UID and tag in theirs
    }
    found = {tag: value for tag, value in header.values.items() if tag in expected}
    assert found == expected
    assert header.values.keys() <= expected.keys()
    whole = pydicom.dcmread(BytesIO(data), force=True)
    if "PixelData" in whole:
        start = header.pixels_start
        assert start is not None
        value = whole.get_item("PixelData").value
        assert data[start : start + len(value)] == value
        assert header.pixels_bytes in (len(value), None)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_headers_are_what_pydicom_reads(syntax: str, undefined: bool) -> None:
    dataset = slice_of(PIXELS, (1, 2, 3))
    dataset.ReferencedStudySequence = nested(undefined)
    dataset["ReferencedStudySequence"].is_undefined_length = undefined
    block = dataset.private_block(0x0019, "MADE UP", create=True)
    block.add_new(1, "UN", bytes(range(20)))
    block.add_new(2, "SQ", nested(undefined))
    dataset.PixelPaddingValue = 63536
    agrees_with_pydicom(file_bytes(dataset, syntax))


def test_header_of_an_unknown_sequence_is_passed() -> None:
    """A UN element of undefined length nests implicit elements in an explicit file (CP-246)."""
    data = file_bytes(slice_of(PIXELS, (1, 2, 3)))
    inner = b"\x08\0\x05\x11" + b"\xff" * 4 + b"\xfe\xff\xdd\xe0" + bytes(4)
    item = b"\xfe\xff\0\xe0" + b"\xff" * 4 + inner + b"\xfe\xff\x0d\xe0" + bytes(4)
    unknown = b"\x09\0\x10\x10UN\0\0" + b"\xff" * 4 + item + b"\xfe\xff\xdd\xe0" + bytes(4)
    at_patient = data.index(b"\x10\0\x10\0PN")
    agrees_with_pydicom(data[:at_patient] + unknown + data[at_patient:])


def test_header_is_the_same_in_pieces(tmp_path: Path) -> None:
    dataset = slice_of(PIXELS, (1, 2, 3))
    block = dataset.private_block(0x0019, "MADE UP", create=True)
    for k in range(40):  # around the borders of the pieces that are read
        block.add_new(k, "OB", bytes(3000 + 2 * k))
    data = file_bytes(dataset)
    (tmp_path / "a.dcm").write_bytes(data)
    header, size = read_header(tmp_path / "a.dcm", "a.dcm", EVERY)
    assert size == len(data)
    assert header == parse_header(data, "a.dcm", EVERY)
    assert header.numbers(Tag.IMAGE_POSITION_PATIENT, 3) == (1.0, 2.0, 3.0)
    assert data[header.pixels_start :][: header.pixels_bytes] == dataset.PixelData


def test_nesting_is_bounded() -> None:
    opened = b"\x09\0\x10\x10" + b"\xff" * 4 + b"\xfe\xff\0\xe0" + b"\xff" * 4
    closed = b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)
    element = b"\x20\0\x0e\0" + (4).to_bytes(4, "little") + b"1.2\0"
    start = b"\x08\0\x60\0" + (2).to_bytes(4, "little") + b"CT"
    for deep in (1, 60):
        header = parse_header(start + opened * deep + closed * deep + element, "deep", EVERY)
        assert header.uid(Tag.SERIES_INSTANCE_UID) == "1.2"
    for data, says in (
        (opened * 70, "nest more than"),
        (opened * 5, "ends inside a sequence"),
        (opened[:8] + element, "must start or end an item"),
        (b"\x09\0\x11\x10" + bytes(4) + (opened + closed) * 50_000, "more than 100,000 elements"),
    ):
        with pytest.raises(CaseError, match=says):
            parse_header(start + data, "deeper", EVERY)


@pytest.mark.real
def test_headers_of_real_files(real_data: Path) -> None:
    for folder in REAL_FOLDERS:
        paths = sorted(path for path in (real_data / folder).rglob("*") if path.is_file())
        for path in [*paths[::7], paths[-1]]:
            agrees_with_pydicom(path.read_bytes())
