"""Headers of MetaImage and NRRD that contradict themselves, or say what is not read."""

from __future__ import annotations

import bz2
import gzip
import zlib
from pathlib import Path

import pytest
from makers.headers import PAYLOAD, metaimage, nrrd, put

from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.volumes import read_volume

DIRECTIONS = "space directions: (2,0,0) (0,3,0) (0,0,4)"
TEXT = " ".join(map(str, range(60))).encode() + b"\n"
ZLIB = zlib.compress(PAYLOAD)
PACKED = ("CompressedData = True", f"CompressedDataSize = {len(ZLIB)}")
SPACE = "space: LPS"


def reason_of(path: Path) -> Reason:
    with pytest.raises(CaseError) as caught:
        read_volume(path, path.parent)
    if caught.value.reason is not Reason.BAD_AFFINE:
        assert caught.value.detail.startswith(f"{path.name}: ")
    return caught.value.reason


BROKEN = {
    "twice": (metaimage("DimSize = 5 4 3"), Reason.UNREADABLE),
    "fewer sizes": (metaimage(sizes="5 4"), Reason.NOT_3D),
    "two sizes for three axes": (
        metaimage().replace(b"NDims = 2", b"NDims = 3").replace(b"5 4 3", b"5 4"),
        Reason.UNREADABLE,
    ),
    "sizes first": (
        b"DimSize = 5 4 3\n" + metaimage().replace(b"DimSize = 5 4 3\n", b""),
        Reason.UNREADABLE,
    ),
    "no type": (metaimage().replace(b"ElementType", b"Element"), Reason.UNREADABLE),
    "unknown type": (metaimage(kind="MET_OTHER"), Reason.UNSUPPORTED_FORMAT),
    "arrays": (metaimage(kind="MET_SHORT_ARRAY"), Reason.UNSUPPORTED_FORMAT),
    "two channels": (metaimage("ElementNumberOfChannels = 2", sizes="5 4 1"), Reason.NOT_3D),
    "two origins": (metaimage("Offset = 1 2 3", "Position = 1 2 4"), Reason.UNREADABLE),
    "two orders": (
        metaimage("ElementByteOrderMSB = True", "BinaryDataByteOrderMSB = False"),
        Reason.UNREADABLE,
    ),
    "slope": (metaimage("ElementToIntensityFunctionSlope = 2"), Reason.UNSUPPORTED_FORMAT),
    "intercept": (metaimage("ElementToIntensityFunctionOffset = -1"), Reason.UNSUPPORTED_FORMAT),
    "slope of 1": (metaimage("ElementToIntensityFunctionSlope = one"), Reason.UNREADABLE),
    "version": (metaimage("FileFormatVersion = 1"), Reason.UNSUPPORTED_FORMAT),
    "cm": (metaimage("DistanceUnits = cm"), Reason.UNSUPPORTED_FORMAT),
    "neither yes nor no": (metaimage("CompressedData = Yes"), Reason.UNREADABLE),
    "nan": (metaimage("Offset = nan 0 0"), Reason.UNREADABLE),
    "numbers missing": (metaimage("CenterOfRotation = 0 0"), Reason.UNREADABLE),
    "zero spacing": (metaimage("ElementSpacing = 0 1 1"), Reason.BAD_AFFINE),
    "into the header": (metaimage("HeaderSize = 20"), Reason.UNREADABLE),
    "beyond the end": (metaimage("HeaderSize = 300"), Reason.TRUNCATED_FILE),
    "packed at the end": (
        metaimage(*PACKED, "HeaderSize = -1", payload=ZLIB),
        Reason.UNSUPPORTED_FORMAT,
    ),
    "packed text": (metaimage(*PACKED, binary=False, payload=TEXT), Reason.UNSUPPORTED_FORMAT),
    "cut short": (metaimage(payload=PAYLOAD[:-1]), Reason.TRUNCATED_FILE),
    "a size of more": (
        metaimage(PACKED[0], "CompressedDataSize = 9999", payload=ZLIB),
        Reason.TRUNCATED_FILE,
    ),
    "a size of fewer": (
        metaimage(PACKED[0], "CompressedDataSize = 9", payload=ZLIB),
        Reason.TRUNCATED_FILE,
    ),
    "bytes behind": (metaimage(PACKED[0], payload=ZLIB + b"more"), Reason.UNREADABLE),
    "more voxels": (
        metaimage(PACKED[0], payload=zlib.compress(PAYLOAD + b"more")),
        Reason.TRUNCATED_FILE,
    ),
    "fewer voxels": (metaimage(PACKED[0], payload=zlib.compress(b"fewer")), Reason.TRUNCATED_FILE),
    "text of fewer": (metaimage(binary=False, payload=TEXT[:-6]), Reason.TRUNCATED_FILE),
    "text of few": (metaimage(binary=False, payload=b"1 2 3"), Reason.TRUNCATED_FILE),
    "text of more": (metaimage(binary=False, payload=TEXT + b"1"), Reason.UNREADABLE),
    "text of too large ones": (metaimage(binary=False, payload=TEXT * 999), Reason.UNREADABLE),
    "text of words": (
        metaimage(binary=False, payload=TEXT.replace(b"19", b"1x")),
        Reason.UNREADABLE,
    ),
    "text of beyond": (
        metaimage(binary=False, payload=TEXT.replace(b"19", b"99999")),
        Reason.UNREADABLE,
    ),
    "text of Python": (
        metaimage(binary=False, payload=TEXT.replace(b"19", b"1_9")),
        Reason.UNREADABLE,
    ),
    "N twice": (nrrd("sizes: 5 4 3"), Reason.UNREADABLE),
    "N another magic": (nrrd().replace(b"NRRD0004", b"NRRD0006"), Reason.UNREADABLE),
    "N unknown field": (nrrd("kilds: domain domain domain"), Reason.UNREADABLE),
    "N no end": (nrrd(payload=b"")[:-1], Reason.UNREADABLE),
    "N a line that is not all there": (nrrd("data file: x")[:-1], Reason.UNREADABLE),
    "N block": (nrrd(type="block"), Reason.UNSUPPORTED_FORMAT),
    "N encoding": (nrrd(encoding="zrl"), Reason.UNSUPPORTED_FORMAT),
    "N no order": (nrrd(endian=None), Reason.UNREADABLE),
    "N vectors": (nrrd("kinds: vector domain domain"), Reason.NOT_3D),
    "N complex": (
        nrrd("kinds: complex space space space", dimension="4", sizes="2 5 2 3"),
        Reason.NOT_3D,
    ),
    "N quantised": (nrrd("old min: -1024"), Reason.UNSUPPORTED_FORMAT),
    "N cm": (nrrd("spacings: 1 1 1", 'units: "cm" "cm" "cm"'), Reason.UNSUPPORTED_FORMAT),
    "N space in m": (nrrd(SPACE, 'space units: "m" "m" "m"'), Reason.UNSUPPORTED_FORMAT),
    "N RAS and time": (nrrd("space: RAST"), Reason.UNSUPPORTED_FORMAT),
    "N axes and space": (nrrd("space dimension: 4"), Reason.UNREADABLE),
    "N spacings beside a space": (nrrd(SPACE, "spacings: 1 1 1"), Reason.UNREADABLE),
    "N one direction": (nrrd(SPACE, "space directions: (1,0,0) none none"), Reason.UNREADABLE),
    "N directions first": (nrrd(DIRECTIONS, SPACE), Reason.UNREADABLE),
    "N singular": (nrrd(SPACE, "space directions: (1,0,0) (1,0,0) (0,0,1)"), Reason.BAD_AFFINE),
    "N zero": (nrrd(SPACE, "space directions: (0,0,0) (1,0,0) (0,0,1)"), Reason.BAD_AFFINE),
    "N packed and skipped": (
        nrrd("byte skip: 1", encoding="gzip", payload=gzip.compress(PAYLOAD)),
        Reason.UNSUPPORTED_FORMAT,
    ),
    "N too few lines": (nrrd("line skip: 9", payload=b"a\nb"), Reason.UNREADABLE),
    "N hex": (nrrd(encoding="hex", payload=b"0g" * 120), Reason.UNREADABLE),
    "N hex of fewer": (nrrd(encoding="hex", payload=b"00 " * 119), Reason.TRUNCATED_FILE),
    "N behind gzip": (
        nrrd(encoding="gzip", payload=gzip.compress(PAYLOAD) + b"what lies behind"),
        Reason.UNREADABLE,
    ),
    "N no gzip": (nrrd(encoding="gzip", payload=PAYLOAD), Reason.UNREADABLE),
    "N bzip2": (nrrd(encoding="bz2", payload=bz2.compress(PAYLOAD)[:-4]), Reason.TRUNCATED_FILE),
    "N bzip2 damaged": (
        nrrd(encoding="bz2", payload=bz2.compress(PAYLOAD)[:-9] + bytes(9)),
        Reason.UNREADABLE,
    ),
    "N numbers of Python": (nrrd("spacings: 1_0 1 1"), Reason.UNREADABLE),
    "N bad vector": (nrrd(SPACE, "space origin: (1,2)"), Reason.UNREADABLE),
    "N half a vector": (nrrd(SPACE, "space origin: (nan,1,2)"), Reason.UNREADABLE),
    "N some mins": (nrrd("spacings: 1 1 1", "axis mins: 0 0 nan"), Reason.UNREADABLE),
    "N labels": (nrrd('labels: "a" "b"'), Reason.UNREADABLE),
    "N space of both": (nrrd(SPACE, "space dimension: 3"), Reason.UNREADABLE),
    "N 17 axes": (nrrd(dimension="17"), Reason.UNREADABLE),
    "NDims of 11": (metaimage(sizes="1 " * 11), Reason.UNREADABLE),
    "overflow": (
        metaimage(
            "TransformMatrix = 1e300 0 0 0 1e300 0 0 0 1e300", "ElementSpacing = 1e300 1e300 1e300"
        ),
        Reason.BAD_AFFINE,
    ),
    "N overflow": (
        nrrd(SPACE, "space directions: (1e300,1e300,0) (0,1e300,0) (0,0,1e300)"),
        Reason.BAD_AFFINE,
    ),
}


@pytest.mark.parametrize("form", sorted(BROKEN))
def test_what_is_refused(tmp_path: Path, form: str) -> None:
    data, reason = BROKEN[form]
    path = put(tmp_path, "x.nrrd" if form.startswith("N ") else "x.mha", data)
    assert reason_of(path) is reason


def test_a_header_of_any_length_ends_soon(tmp_path: Path) -> None:
    long = ["Comment = " + "x" * 60] * 20_000
    assert reason_of(put(tmp_path, "x.mha", metaimage(*long))) is Reason.UNREADABLE
    # What comes behind the part that is read cannot be the end of the header.
    long = ["data file: x.bin", *["# " + "x" * 62] * 20_000]
    put(tmp_path, "x.bin", PAYLOAD)
    assert reason_of(put(tmp_path, "x.nrrd", nrrd(*long))) is Reason.UNREADABLE
