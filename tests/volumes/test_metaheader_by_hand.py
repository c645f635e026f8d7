"""MetaImage and NRRD headers of every kind, written by hand, against ITK's own readers."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.headers import PAYLOAD, VOXELS, assert_as_itk, metaimage, nrrd, put

from uls_data.outcome import Flag
from uls_data.volumes import read_volume

DIRECTIONS = "space directions: (2,0,0) (0,3,0) (0,0,4)"
TILTED = "space directions: (0.7,0.1,0) (-0.1,0.7,0.3) (0,-0.2,2.5)"
ORIGIN = "space origin: (1.5,-2,3e1)"
TEXT = " ".join(map(str, VOXELS.ravel("F"))).encode() + b"\n"
HEX = PAYLOAD.hex(" ").replace("a", "A\n").encode()
ZLIB = zlib.compress(PAYLOAD)
PACKED = ("CompressedData = True", f"CompressedDataSize = {len(ZLIB)}")


META = {
    "plain": metaimage(),
    "no BinaryData": metaimage(binary=None),
    "colons, tabs, spaces": metaimage(
        "  Offset:1 2 3", "ElementSpacing\t=\t2\t3  4", "Rotation : 0 1 0 -1 0 0 0 0 1"
    ),
    "CR LF": metaimage("Offset = 1 2 3", end="\r\n"),
    "an empty line, notes": metaimage("", "Foo = ", "Comment = a = b : c", "Comment = d", "Name ="),
    "TransformMatrix": metaimage("TransformMatrix = 0 1 0 -1 0 0 0 0 1", "ElementSpacing = 2 3 4"),
    "Orientation, Position": metaimage("Orientation = 0 1 0 -1 0 0 0 0 1", "Position = 1 2 3"),
    "Origin, ElementSize": metaimage("Origin = 1 2 3", "ElementSize = 2 3 4"),
    "ElementSize beside the spacing": metaimage("ElementSize = 2 3 4", "ElementSpacing = 5 6 7"),
    "the same origin twice": metaimage("Offset = 1 2 3", "Position = 1 2 3.0"),
    "ImagePosition": metaimage("ImagePosition = 1 2 3"),
    "not orthonormal": metaimage("TransformMatrix = 2 0 0 0.5 3 0 0 0 1"),
    "negative spacing": metaimage("ElementSpacing = -1 1 2"),
    "high byte first": metaimage("BinaryDataByteOrderMSB = True"),
    "high byte first, otherwise": metaimage("ElementByteOrderMSB = 1"),
    "header size": metaimage("HeaderSize =  500").ljust(500, b" ") + PAYLOAD,
    "header size -1": metaimage("HeaderSize = -1", payload=b"between" + PAYLOAD),
    "bytes behind": metaimage(payload=PAYLOAD + b"behind"),
    "four axes": metaimage(
        "TransformMatrix = 0 1 0 0 1 0 0 0 0 0 1 0 0 0 0 1", "Offset = 1 2 3 4", sizes="5 4 3 1"
    ),
    "zlib": metaimage(*PACKED, payload=ZLIB),
    "zlib, bytes behind its size": metaimage(*PACKED, payload=ZLIB + b"behind"),
    "zlib, high byte first": metaimage(*PACKED, "BinaryDataByteOrderMSB = T", payload=ZLIB),
    "gzip": metaimage(
        "CompressedData = true",
        f"CompressedDataSize = {len(gzip.compress(PAYLOAD))}",
        payload=gzip.compress(PAYLOAD),
    ),
    "text": metaimage(binary=False, payload=TEXT),
    "text of floats": metaimage(
        binary=False, kind="MET_FLOAT", payload=TEXT.replace(b"3", b"1.25e1")
    ),
    **{
        f"MET_{kind}": metaimage(kind=f"MET_{kind}", payload=PAYLOAD * 4)
        for kind in (
            *("CHAR", "UCHAR", "ASCII_CHAR", "SHORT", "USHORT", "INT", "UINT", "LONG", "ULONG"),
            *("LONG_LONG", "ULONG_LONG", "FLOAT", "DOUBLE"),
        )
    },
}


@pytest.mark.parametrize("form", sorted(META))
def test_metaimage_by_hand(tmp_path: Path, form: str) -> None:
    path = put(tmp_path, "hand.mha", META[form])
    volume = read_volume(path, tmp_path)
    assert_as_itk(volume, path)
    matrix = any(key in META[form] for key in (b"TransformMatrix", b"Rotation", b"Orientation"))
    assert (Flag.ORIENTATION_ASSUMED in volume.flags) is not matrix


SPACES = (
    *("left-posterior-superior", "right-anterior-superior", "left-anterior-superior", "LPS"),
    *("RAS", "las", "right anterior superior", "leftposteriorsuperior"),
)
UNNAMED = ("scanner-xyz", "3D-right-handed", "3D-left-handed")
NRRD = {
    **{f"space {space}": nrrd(f"space: {space}", TILTED, ORIGIN) for space in SPACES},
    "four axes and time": nrrd(
        "space: LPST",
        "space directions: (2,0,0,0) (0,3,0,0) (0,0,4,0) (0,0,0,1)",
        "space origin: (1,2,3,4)",
        dimension="4",
        sizes="5 4 3 1",
    ),
    "a list of one behind": nrrd(
        "kinds: domain domain domain list",
        "space: RAS",
        f"{DIRECTIONS} none",
        dimension="4",
        sizes="5 4 3 1",
    ),
    "a vector of one before": nrrd(
        "kinds: vector space space space",
        "space: LPS",
        "space directions: none (2,0,0) (0,3,0) (0,0,4)",
        dimension="4",
        sizes="1 5 4 3",
    ),
    "notes and fields that say nothing": nrrd(
        "# data file: nothing",
        "key:=value: x",
        "content: data file: nothing",
        "a:b:=c",
        "number: 60",
        "space: LPS",
        DIRECTIONS,
        'labels: "x" "y\\"" ""',
        'space units: "mm" "mm" "mm"',
        "measurement frame: (1,0,0) (0,1,0) (0,0,1)",
        "thicknesses: nan nan 2",
        "centerings: cell node ???",
        "old min: nan",
        "byte skip: 0",
        "line skip: 0",
    ),
    "names without spaces, in capitals": nrrd(
        "SPACE: LPS", "SpaceDirections: (2,0,0)(0,3,0)(0,0,4)"
    ),
    "blanks in vectors": nrrd(
        "space: LPS", "space directions: \t( 2 , 0,0 ) (0,3.,.0)\t(-0,+0,4e0) "
    ),
}
ASSUMED = {
    "nothing": nrrd(),
    **{f"space {space}": nrrd(f"space: {space}", TILTED, ORIGIN) for space in UNNAMED},
    "space dimension": nrrd("space dimension: 3", TILTED, ORIGIN),
    "no directions": nrrd("space: RAS", ORIGIN),
    "directions of none": nrrd("space: RAS", "space directions: none none none"),
    "no origin": nrrd("space dimension: 3", DIRECTIONS, "space origin: none"),
    "spacings": nrrd("spacings: 2 3.5 -4"),
    "spacings and mins": nrrd("spacings: 2 3 4", "axis mins: 10 20 30"),
    "a spacing unknown": nrrd("spacings: 2 nan 4", "axis mins: 10 20 30"),
    "mins and maxs": nrrd("axis mins: 10 20 30", "axis maxs: 15 24 33"),
    "mins alone": nrrd("axis mins: 10 20 30"),
    "centers": nrrd("spacings: 2 3 4", "axis mins: 10 20 30", "centers: node cell ???"),
    "units": nrrd("spacings: 2 3 4", 'units: "mm" "" "???"'),
    "four axes": nrrd("spacings: 2 3 4 5", dimension="4", sizes="5 4 3 1"),
    "high byte first": nrrd(endian="Big"),
    "one byte, no order": nrrd(type="uchar", endian=None),
    "CR LF": nrrd(end="\r\n"),
    "byte skip": nrrd("byte skip: 2", payload=b"ab" + PAYLOAD),
    "byte skip -1": nrrd("byte skip: -1", "line skip: 1", payload=b"a\nbc" + PAYLOAD),
    "byte skip -4": nrrd("byte skip: -4", payload=PAYLOAD + b"abc"),
    "line skip": nrrd("line skip: 3", "byte skip: 1", payload=b"a\nb\r\nc\rd" + PAYLOAD),
    "gzip": nrrd(encoding="gzip", payload=gzip.compress(PAYLOAD)),
    "gz of members": nrrd(encoding="GZ", payload=b"".join(
        gzip.compress(part) for part in (PAYLOAD[:7], b"", PAYLOAD[7:])
    )),
    "text": nrrd(encoding="text", endian=None, payload=TEXT),
    "ascii with commas": nrrd(encoding="ascii", payload=TEXT.replace(b" ", b" , ")),
    "txt of floats": nrrd(encoding="txt", type="float", payload=TEXT.replace(b"3", b"1.25e1")),
    "text after bytes": nrrd("byte skip: 3", encoding="txt", payload=b"99 " + TEXT),
    "hex": nrrd(encoding="hex", endian="big", payload=HEX),
    **{
        f"type {kind}": nrrd(type=kind, payload=PAYLOAD * 4)
        for kind in (
            *("signed char", "int8_t", "unsigned char", "uint8", "signed short int", "int16"),
            *("ushort", "uint16_t", "signed int", "int32", "uint", "uint32_t", "longlong"),
            *("signed long long int", "int64", "unsigned long long int", "uint64", "Float"),
            "double",
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("form", [*sorted(NRRD), *(f"{form}, assumed" for form in sorted(ASSUMED))])
def test_nrrd_by_hand(tmp_path: Path, form: str) -> None:
    data = NRRD.get(form) or ASSUMED[form.removesuffix(", assumed")]
    path = put(tmp_path, "hand.nrrd", data)
    volume = read_volume(path, tmp_path)
    assert_as_itk(volume, path)
    assert (Flag.ORIENTATION_ASSUMED in volume.flags) is form.endswith("assumed")


MET = {
    "i1": "MET_CHAR", "u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "i4": "MET_LONG",
    "u4": "MET_UINT", "i8": "MET_LONG_LONG", "u8": "MET_ULONG_LONG", "f4": "MET_FLOAT",
    "f8": "MET_DOUBLE",
}  # fmt: skip
NRRD_TYPES = {
    "i1": "int8", "u1": "uchar", "i2": "short", "u2": "uint16_t", "i4": "signed int",
    "u4": "unsigned int", "i8": "long long", "u8": "uint64", "f4": "float", "f8": "double",
}  # fmt: skip


@st.composite
def numbers(draw: st.DrawFn, count: int, low: float = -900, high: float = 900) -> list[str]:
    """Numbers in any spelling, none of them next to 0."""
    found = [draw(st.floats(low, high)) for _ in range(count)]
    spelling = draw(st.sampled_from(("{!r}", "{:.3f}", "{:+.17e}", "{:.6g}")))
    return [spelling.format(value if abs(value) > 0.01 else 0.5) for value in found]


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Any, str, str]:
    """Voxels of any type and size in either order, and their sizes as a header has them."""
    code, order = draw(st.sampled_from(sorted(MET))), draw(st.sampled_from("<>"))
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    array = rng.integers(0, 100, shape).astype(order + code)
    return array, code, " ".join(map(str, shape))


def turned(rng: np.random.Generator) -> list[list[str]]:
    """Columns of some turn in space."""
    return [[repr(float(x)) for x in column] for column in np.linalg.qr(rng.normal(size=(3, 3)))[0]]


@st.composite
def metaimages(draw: st.DrawFn) -> bytes:
    array, code, sizes = draw(arrays())
    sign = draw(st.sampled_from((" = ", "=", ": ", "\t=  ")))
    lines, payload = [], array.tobytes("F")
    big = array.dtype.str[0] == ">"
    if big or draw(st.booleans()):
        key = draw(st.sampled_from(("BinaryDataByteOrderMSB", "ElementByteOrderMSB")))
        lines.append(f"{key}{sign}{big}")
    for keys, values in (
        (("Offset", "Position", "Origin"), numbers(3)),
        (("ElementSpacing", "ElementSize"), numbers(3, 0.1, 9)),
        (("TransformMatrix", "Rotation", "Orientation"), None),
    ):
        if draw(st.integers(0, 3)):
            seed = draw(st.integers(0, 1 << 30))
            rows = turned(np.random.default_rng(seed))
            words = [word for row in rows for word in row] if values is None else draw(values)
            lines.append(f"{draw(st.sampled_from(keys))}{sign}{' '.join(words)}")
    way, binary = draw(st.sampled_from(("raw", "behind", "zlib", "gzip", "text"))), True
    if way == "text" and not big:
        binary = False
        payload = "\n".join(f"{value}" for value in array.ravel("F")).encode() + b"\n"
    elif way in ("zlib", "gzip"):
        payload = zlib.compress(payload) if way == "zlib" else gzip.compress(payload)
        lines += [f"CompressedData{sign}True", f"CompressedDataSize{sign}{len(payload)}"]
    elif way == "behind":
        lines.append(f"HeaderSize{sign}-1")
        payload = b"not voxels" + payload
    lines = draw(st.permutations(lines))
    return metaimage(*lines, kind=MET[code], sizes=sizes, binary=binary, payload=payload)


@given(metaimages())
def test_any_metaimage(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = put(tmp_path_factory.getbasetemp(), "any.mha", data)
    assert_as_itk(read_volume(path, path.parent), path)


@st.composite
def nrrds(draw: st.DrawFn) -> bytes:
    array, code, sizes = draw(arrays())
    payload, lines, encoding = (
        array.tobytes("F"),
        [],
        draw(st.sampled_from(("raw", "gzip", "hex", "ascii"))),
    )
    fields = {"endian": "big" if array.dtype.str[0] == ">" else "little"}
    if draw(st.booleans()):
        space = draw(st.sampled_from((*SPACES, *UNNAMED)))
        columns = turned(np.random.default_rng(draw(st.integers(0, 1 << 30))))
        vectors = " ".join(f"({','.join(column)})" for column in columns)
        lines += [f"space: {space}", f"space directions: {vectors}"]
        if draw(st.booleans()):
            lines.append(f"space origin: ({', '.join(draw(numbers(3)))})")
    else:
        for key, values in (("spacings", numbers(3, 0.1, 9)), ("axis mins", numbers(3))):
            if draw(st.booleans()):
                lines.append(f"{key}: {' '.join(draw(values))}")
        if draw(st.booleans()):
            lines.append(f"axis maxs: {' '.join(draw(numbers(3, 1e3, 2e3)))}")
        if draw(st.booleans()):
            kinds = [draw(st.sampled_from(("node", "cell", "???"))) for _ in range(3)]
            lines.append(f"centerings: {' '.join(kinds)}")
    if encoding == "gzip":
        payload = gzip.compress(payload)
    elif encoding != "raw":
        words = payload.hex(" ") if encoding == "hex" else " ".join(map(str, array.ravel("F")))
        payload = words.encode()
    elif draw(st.booleans()):
        payload = b"\n\nxy" + payload
        lines += draw(st.permutations(["line skip: 2", "byte skip: 2"]))
    return nrrd(
        *lines, type=NRRD_TYPES[code], sizes=sizes, encoding=encoding, payload=payload, **fields
    )


@given(nrrds())
def test_any_nrrd(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = put(tmp_path_factory.getbasetemp(), "any.nrrd", data)
    assert_as_itk(read_volume(path, path.parent), path)
