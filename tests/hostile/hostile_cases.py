"""Maker of hostile cases: a small good scan and mask, damaged in one or two ways.

Everything is a function of a seed. What lies outside the raw root and must never be
read holds `MARK`, which reads the same however a volume is turned; so do the free-text
fields of every header.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import re
import socket
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from uls_data.demo.phantom import ORIENTATIONS, store

MARK = b"Z" * 16
SECRET = MARK * 2048
SHAPE = (24, 20, 16)
AFFINE = np.array([[0.8, 0, 0, -31.5], [0, 0.8, 0, 12.75], [0, 0, 2.5, -804.0], [0, 0, 0, 1.0]])
NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".mha", ".mhd")
ANY = NIFTI + ITK
_MIB = 1 << 20
_NRRD_TYPES = {
    "i1": "signed char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint",
    "i8": "longlong", "u8": "ulonglong", "f4": "float", "f8": "double",
}  # fmt: skip
_MET_TYPES = {
    "i1": "MET_CHAR", "u1": "MET_UCHAR", "i2": "MET_SHORT", "u2": "MET_USHORT", "i4": "MET_INT",
    "u4": "MET_UINT", "i8": "MET_LONG_LONG", "u8": "MET_ULONG_LONG", "f4": "MET_FLOAT",
    "f8": "MET_DOUBLE",
}  # fmt: skip


@dataclass
class Part:
    """Image or mask of a case, from array to file."""

    folder: str
    array: NDArray[Any]
    affine: NDArray[np.float64]
    ext: str = ".nii.gz"
    second: bool = False
    big_endian: bool = False
    level: int = 6
    packed: bool = False
    content: bytes = b""
    voxels: bytes | None = None
    data: bytes = b""
    place: Callable[[Path], None] | None = None


@dataclass
class Case:
    """One hostile case; `outside` where any VOI would hold what lies outside the root."""

    name: str
    image: Part
    mask: Part
    made_of: list[str] = field(default_factory=list)
    outside: bool = False
    extra: dict[str, bytes] = field(default_factory=dict)

    def parts(self) -> tuple[Part, Part]:
        """Image and mask."""
        return self.image, self.mask

    def case_id(self) -> str:
        """Name in the manifest: bytes that are no UTF-8 are spelt out."""
        return os.fsencode(self.name).decode("utf-8", "backslashreplace")

    def write(self, raw: Path) -> None:
        """Write the case's files, links, pipes and folders."""
        for name, data in self.extra.items():
            (raw / name).write_bytes(data)
        for part in self.parts():
            path = raw / part.folder / f"{self.name}{part.ext}"
            if part.voxels is not None:
                path.with_name(f"{self.name}.raw").write_bytes(part.voxels)
            if part.place is not None:
                part.place(path)
            else:
                path.write_bytes(part.data)


Mutation = Callable[[random.Random, Case, Part], None]
_STAGES = ("name", "array", "content", "stream", "disk")
_KNOWN: list[tuple[str, tuple[str, ...], Mutation]] = []


def _hostile(stage: str, forms: tuple[str, ...] = ANY) -> Callable[[Mutation], Mutation]:
    def register(function: Mutation) -> Mutation:
        _KNOWN.append((stage, forms, function))
        return function

    return register


def mutations() -> list[str]:
    """Names of all mutations."""
    return [function.__name__ for *_, function in _KNOWN]


def make_case(seed: int, number: int, only: str | None = None) -> Case:
    """One hostile case, by the seed of its batch and its number in it."""
    rng = random.Random(f"{seed}/{number}")
    known = [m for m in _KNOWN if only is None or m[2].__name__ == only]
    chosen = [known[(seed * 20 + number) % len(known)] if number % 2 else rng.choice(known)]
    if only is None and rng.random() < 0.4:
        other = rng.choice(_KNOWN)
        fits = other[2] is not chosen[0][2] and set(other[1]) & set(chosen[0][1])
        if fits and (other[0] != chosen[0][0] or other[0] in ("content", "stream")):
            chosen.append(other)
    chosen.sort(key=lambda mutation: _STAGES.index(mutation[0]))
    forms = sorted(set.intersection(*[set(mutation[1]) for mutation in chosen]))
    case = _good_case(rng, f"case{number:02d}", rng.choice(forms))
    parts = [case.image, case.mask]
    favourite = rng.choice(parts)
    for stage in _STAGES:
        for its, _, mutation in chosen:
            if its == stage:
                part = favourite if rng.random() < 0.8 else rng.choice(parts)
                case.made_of.append(f"{mutation.__name__}({part.folder}{part.ext})")
                mutation(rng, case, part)
        for part in parts:
            if stage == "array":
                _encode(part, case.name)
            elif stage == "content":
                _pack(part)
    return case


def _good_case(rng: random.Random, name: str, ext: str) -> Case:
    image = np.random.default_rng(rng.getrandbits(32)).integers(-900, 900, SHAPE).astype("i2")
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[2:8, 3:9, 2:7] = 1
    if rng.random() < 0.5:
        mask[13:20, 10:16, 8:13] = rng.choice((1, 2))
    codes = rng.choice(ORIENTATIONS)
    other = codes if rng.random() < 0.8 else rng.choice(ORIENTATIONS)
    looks = {
        "ext": ext,
        "second": rng.random() < 0.2,
        "big_endian": rng.random() < 0.1,
        "level": rng.choice((0, 1, 6, 9)),
        "packed": rng.random() < 0.4,
    }
    return Case(
        name,
        Part("images", *store(image, AFFINE, codes), **looks),
        Part("masks", *store(mask, AFFINE, other), **looks),
    )


# ---------------------------------------------------------------- writing good files


def _encode(part: Part, name: str) -> None:
    if part.ext in NIFTI:
        part.content = _nifti(part)
        return
    kind = part.array.dtype.str[1:]
    part.array = part.array if kind in _NRRD_TYPES else part.array.real.astype("f4")
    kind = part.array.dtype.str[1:]
    payload = part.array.astype(part.array.dtype.newbyteorder("<")).tobytes("F")
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ part.affine
    sizes = " ".join(map(str, part.array.shape))
    if part.ext == ".nrrd":
        space = " ".join("(" + ",".join(map(repr, map(float, c))) + ")" for c in lps[:3, :3].T)
        lines = [
            "NRRD0004",
            f"# {MARK.decode()}",
            f"type: {_NRRD_TYPES[kind]}",
            f"dimension: {part.array.ndim}",
            "space: left-posterior-superior",
            f"sizes: {sizes}",
            f"space directions: {space}",
            "kinds: domain domain domain",
            "endian: little",
            f"encoding: {'gzip' if part.packed else 'raw'}",
            "space origin: (" + ",".join(map(repr, map(float, lps[:3, 3]))) + ")",
            f"patient:={MARK.decode()}",
            "",
        ]
        payload = gzip.compress(payload, part.level, mtime=0) if part.packed else payload
    else:
        spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
        payload = zlib.compress(payload, part.level) if part.packed else payload
        lines = [
            "ObjectType = Image",
            f"NDims = {part.array.ndim}",
            f"Comment = {MARK.decode()}",
            "BinaryData = True",
            "BinaryDataByteOrderMSB = False",
            f"CompressedData = {part.packed}",
            *([f"CompressedDataSize = {len(payload)}"] if part.packed else []),
            "TransformMatrix = " + " ".join(repr(float(v)) for v in (lps[:3, :3] / spacing).T.flat),
            "Offset = " + " ".join(repr(float(v)) for v in lps[:3, 3]),
            "ElementSpacing = " + " ".join(repr(float(v)) for v in spacing),
            f"DimSize = {sizes}",
            f"ElementType = {_MET_TYPES[kind]}",
            f"ElementDataFile = {'LOCAL' if part.ext == '.mha' else name + '.raw'}",
        ]
    part.content = _joined(lines, b"")
    if part.ext == ".mhd":
        part.voxels = payload
    else:
        part.content += payload


def _nifti(part: Part) -> bytes:
    family = nib.Nifti2Image if part.second else nib.Nifti1Image
    dtype = part.array.dtype
    header = family.header_class(endianness=">" if part.big_endian else "<")
    header.set_data_dtype(dtype)
    wide = {"dtype": dtype} if dtype.str[1:] in ("i8", "u8") else {}
    image = family(part.array, part.affine, header, **wide)
    image.header["descrip"] = MARK * 5
    image.header["aux_file"] = MARK
    image.header["intent_name"] = MARK[:15]
    if part.packed:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", MARK * 9))
    data: bytes = image.to_bytes()
    return data


def _pack(part: Part) -> None:
    zipped = part.ext == ".nii.gz"
    part.data = gzip.compress(part.content, part.level, mtime=0) if zipped else part.content


# ---------------------------------------------------------------- arrays

_CT_TYPES = ("i1", "u1", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "c8", "c16", "f16")


@_hostile("array")
def wrong_dtype(rng: random.Random, case: Case, part: Part) -> None:
    kind = rng.choice(_CT_TYPES if part.ext in NIFTI else _CT_TYPES[:9])
    dtype = np.dtype(np.longdouble) if kind == "f16" else np.dtype(kind)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    values = np.nan_to_num(part.array) if limits else part.array
    with np.errstate(all="ignore"):
        values = np.clip(values, limits.min, limits.max) if limits else values
        part.array = values.astype(dtype)


@_hostile("array", NIFTI)
def colours(rng: random.Random, case: Case, part: Part) -> None:
    names = rng.choice(("RGB", "RGBA"))
    part.array = np.ones(part.array.shape, dtype=[(name, "u1") for name in names])


@_hostile("array")
def strange_numbers(rng: random.Random, case: Case, part: Part) -> None:
    dtype = rng.choice(("f4", "f8"))
    part.array = part.array.astype(dtype)
    value = rng.choice((np.nan, np.inf, -np.inf, 1e30, -1e30, 1e9, 2.0**31, -(2.0**31), 5e-324))
    with np.errstate(over="ignore"):
        for _ in range(rng.choice((1, 40))):
            at = tuple(rng.randrange(n) for n in part.array.shape)
            part.array[at] = np.dtype(dtype).type(value)


@_hostile("array")
def huge_whole_numbers(rng: random.Random, case: Case, part: Part) -> None:
    dtype = np.dtype(rng.choice(("i4", "u4", "i8", "u8")))
    part.array = np.abs(part.array.astype("i8")).astype(dtype)
    at = tuple(rng.randrange(n) for n in part.array.shape)
    limits = np.iinfo(dtype)
    part.array[at] = rng.choice((limits.min, limits.max, (1 << 31) - 1, limits.max - 1))


@_hostile("array")
def fractional_mask(rng: random.Random, case: Case, part: Part) -> None:
    values = case.mask.array.astype(rng.choice(("f4", "f8")))
    value = rng.choice((0.5, 0.999, 1.0000001, 1e-30, 1.5))
    marked = np.argwhere(values)
    some = rng.choice((1, len(marked)))
    values[tuple(marked[:some].T)] *= value
    case.mask.array = values


@_hostile("array")
def negative_mask(rng: random.Random, case: Case, part: Part) -> None:
    values = case.mask.array.astype(rng.choice(("i1", "i2", "i4", "f4")))
    values[3, 3, 3] = rng.choice((-1, -128))
    case.mask.array = values if rng.random() < 0.5 else -values


@_hostile("array")
def large_mask_values(rng: random.Random, case: Case, part: Part) -> None:
    top = rng.choice((255, 1 << 16, 1 << 30, (1 << 31) - 1, (1 << 32) - 1, (1 << 32) + 1))
    values = case.mask.array.astype("i8" if top >> 31 else "i4")
    values[values == rng.choice((1, 2))] = top
    case.mask.array = values


@_hostile("array")
def specks(rng: random.Random, case: Case, part: Part) -> None:
    shape = (28, 28, 28)
    mask = np.indices(shape).sum(axis=0) % 2
    if rng.random() < 0.5:  # each speck a number of its own, for the rule `values`
        mask = mask * np.arange(mask.size).reshape(shape)
    case.mask.array = mask.astype("i4")
    case.image.array = np.random.default_rng(1).integers(-900, 900, shape).astype("i2")
    case.mask.affine = case.image.affine


@_hostile("array")
def mask_of_one_value(rng: random.Random, case: Case, part: Part) -> None:
    case.mask.array = np.full_like(case.mask.array, rng.choice((0, 1, 2, 255)))


@_hostile("array")
def noise_for_mask(rng: random.Random, case: Case, part: Part) -> None:
    noise = np.random.default_rng(rng.getrandbits(32))
    # In a corner alone, for the specks of a whole scan would be hundreds of VOIs.
    case.mask.array[:8, :8, :8] = noise.integers(0, rng.choice((2, 3, 4)), (8, 8, 8), "u1")


@_hostile("array")
def swapped(rng: random.Random, case: Case, part: Part) -> None:
    for name in ("array", "affine"):
        one, other = getattr(case.image, name), getattr(case.mask, name)
        setattr(case.image, name, other)
        setattr(case.mask, name, one)


@_hostile("array")
def another_grid(rng: random.Random, case: Case, part: Part) -> None:
    turn = rng.randrange(4)
    if turn == 0:
        part.array = part.array[:-1]
    elif turn == 1:
        part.array = np.ascontiguousarray(part.array.transpose(2, 0, 1))
    elif turn == 2:
        part.affine = part.affine.copy()
        part.affine[:3, 3] += rng.choice((0.01, 0.09, 1.0, 1e4))
    else:
        part.affine = part.affine @ np.diag([rng.choice((-1, 1.004, 2)), 1, 1, 1])


@_hostile("array")
def tilted_affine(rng: random.Random, case: Case, part: Part) -> None:
    angle = rng.choice((0.2, 0.7853981633974483, 0.8, 1.5))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn = turn[[*rng.sample(range(3), 3), 3]] if rng.random() < 0.5 else turn
    case.image.affine = turn @ case.image.affine
    case.mask.affine = turn @ case.mask.affine


@_hostile("array", NIFTI)
def axes(rng: random.Random, case: Case, part: Part) -> None:
    turn = rng.randrange(4)
    if turn == 0:
        part.array = part.array[..., None]
    elif turn == 1:
        part.array = part.array[..., None, None, None]
    elif turn == 2:
        part.array = np.stack([part.array, part.array], axis=-1)
    else:
        part.array = part.array[:, :, 3]


# ---------------------------------------------------------------- NIfTI headers

_FLOATS = (0.0, -1.0, 1.0, 2.0, 0.5, 1e-8, 1e-30, 1e6, 1e20, 1e30, 3.4e38)
_FLOATS += (-3.4e38, np.nan, np.inf, -np.inf)
_FIELDS: dict[str, tuple[Any, ...]] = {
    "sizeof_hdr": (0, 347, 348, 349, 540, -1),
    "datatype": (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2304, -1),
    "bitpix": (0, 1, 8, 16, 32, 64, -16, 32767),
    "vox_offset": (-352, 0, 1, 340, 347, 348, 351, 352, 353, 368, 540, 544, 1000, 1 << 24, 1 << 30),
    "magic": (b"ni1", b"n+1", b"n+2", b"", b"\xff\xff\xff\xff", b"n+9"),
    "scl_slope": _FLOATS,
    "scl_inter": _FLOATS,
    "qform_code": (-1, 0, 1, 2, 4, 5, 255, 32767),
    "sform_code": (-1, 0, 1, 2, 4, 5, 255, 32767),
    "qoffset_x": _FLOATS,
    "quatern_b": _FLOATS,
    "quatern_c": _FLOATS,
    "quatern_d": _FLOATS,
    "xyzt_units": (0, 1, 2, 3, 10, 127),
    "intent_code": (0, 1, 1007, -1, 32767),
    "dim_info": (0, 255),
}


def _fields(part: Part) -> tuple[NDArray[Any], bytes] | None:
    """Header of a NIfTI part as a writable record, and what follows it."""
    header = (nib.Nifti2Header if part.second else nib.Nifti1Header).template_dtype
    if len(part.content) < header.itemsize:
        return None
    record = np.frombuffer(
        bytearray(part.content[: header.itemsize]),
        header.newbyteorder(">" if part.big_endian else "<"),
    )
    return record, part.content[header.itemsize :]


def _edit(part: Part, change: Callable[[Any], None]) -> None:
    if (found := _fields(part)) is not None:
        record, rest = found
        with np.errstate(all="ignore"):
            change(record[0])
        part.content = record.tobytes() + rest


@_hostile("content", NIFTI)
def lying_nifti_field(rng: random.Random, case: Case, part: Part) -> None:
    names = rng.sample(sorted(_FIELDS), rng.choice((1, 1, 2)))

    def change(record: Any) -> None:
        for name in names:
            value = rng.choice(_FIELDS[name])
            if isinstance(value, int) and record.dtype[name].kind == "u":
                value %= 256
            record[name] = value

    _edit(part, change)


@_hostile("content", NIFTI)
def scale(rng: random.Random, case: Case, part: Part) -> None:
    def change(record: Any) -> None:
        record["scl_slope"] = rng.choice(_FLOATS)
        record["scl_inter"] = rng.choice(_FLOATS)

    _edit(part, change)


@_hostile("content", NIFTI)
def lying_dims(rng: random.Random, case: Case, part: Part) -> None:
    def change(record: Any) -> None:
        at = rng.randrange(8)
        true = int(record["dim"][at])
        record["dim"][at] = rng.choice((-1, 0, 1, 2, 7, 8, true + 1, true - 1, 32767, -32768))

    _edit(part, change)


@_hostile("content", NIFTI)
def affine_fields(rng: random.Random, case: Case, part: Part) -> None:
    def change(record: Any) -> None:
        if rng.random() < 0.5:  # qform decides
            record["sform_code"] = 0
            record["qform_code"] = rng.choice((0, 1))
            record["pixdim"][rng.randrange(4)] = rng.choice(_FLOATS)
        for _ in range(rng.choice((1, 3))):
            row = rng.choice(("srow_x", "srow_y", "srow_z"))
            record[row][rng.randrange(4)] = rng.choice(_FLOATS)
        if rng.random() < 0.2:
            record["srow_y"] = record["srow_x"]

    _edit(part, change)


@_hostile("content", NIFTI)
def quaternion(rng: random.Random, case: Case, part: Part) -> None:
    def change(record: Any) -> None:
        record["sform_code"], record["qform_code"] = 0, 1
        for name in ("b", "c", "d"):
            record[f"quatern_{name}"] = rng.choice((*_FLOATS, rng.uniform(-1.1, 1.1)))

    _edit(part, change)


@_hostile("content", NIFTI)
def dimension_bomb(rng: random.Random, case: Case, part: Part) -> None:
    size = rng.choice((2000, 30000, 32767))

    def change(record: Any) -> None:
        top = (1 << 62) if part.second and rng.random() < 0.5 else size
        record["dim"][1:4] = top
        if rng.random() < 0.3:
            record["dim"][0], record["dim"][4:] = 7, top

    _edit(part, change)


@_hostile("content")
def content_flips(rng: random.Random, case: Case, part: Part) -> None:
    data = bytearray(part.content)
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(min(len(data), 600))] ^= 1 << rng.randrange(8)
    part.content = bytes(data)


@_hostile("content")
def content_cut(rng: random.Random, case: Case, part: Part) -> None:
    top = rng.choice((4, 360, len(part.content)))
    part.content = part.content[: rng.randrange(min(top, len(part.content)))]


@_hostile("content")
def content_longer(rng: random.Random, case: Case, part: Part) -> None:
    more = rng.choice((b"\0", b"\0" * 512, MARK * 3, part.content))
    part.content += more


# ---------------------------------------------------------------- text headers

_VALUES = (
    "", "0", "1", "-1", "3", "4", "nan", "inf", "-inf", "1e30", "1e400", "99999999999", "none",
    "LOCAL", "LIST", "True", "False", "raw", "gzip", "bzip2", "hex", "ascii", "big", "block",
    "double", "uchar", "short", "MET_UCHAR", "MET_DOUBLE", "MET_SHORT_ARRAY", "24 20 16",
    "16 20 24", "24 20 15", "24 20 16 1", "32767 32767 32767", "99999999999 99999999999 1",
    "0 0 0", "-24 20 16", "1 1 1", "nan nan nan", "1e300 1e300 1e300", "1 0 0 1 0 0 0 0 1",
    "0 0 0 0 0 0 0 0 0", "(1,0,0) (1,0,0) (0,0,1)", "(nan,0,0) (0,1,0) (0,0,1)",
    "(0,0,0) (0,0,0) (0,0,0)", "none (0,1,0) (0,0,1)", "(1,0,0)", "(1e38,0,0)",
    "right-anterior-superior", "scanner-xyz", "vector domain domain", "A" * 5000, "\x01\x7f",
    "\u00fc\u4e16", "%s%n%d", "../images", "good.nii.gz", "slice%03d.raw 1 16 1",
)  # fmt: skip
_LINES = (
    "line skip: 1", "line skip: -1", "line skip: 999999999", "byte skip: -1", "byte skip: 5",
    "byte skip: 999999999999", "block size: 999999999", "measurement frame: (1,0,0) (0,1,0)",
    "content: x", "spacings: 1 1 1", "axis mins: 0 0 nan", "thicknesses: 1 1 1", "old min: -1",
    "sample units: \"\\", "space units: \"mm\" \"mm", "key:=value\\n", "data file: good.nii.gz",
    "datafile: x%d.raw 0 15 1 2", "data file: LIST", "data file: SKIPLIST 3", "data file:",
    "ElementNumberOfChannels = 3", "ElementNumberOfChannels = 999999999", "HeaderSize = -1",
    "HeaderSize = 100", "HeaderSize = 99999999999", "ElementByteOrderMSB = True", "NDims = 99",
    "ElementToIntensityFunctionSlope = 2", "ElementToIntensityFunctionOffset = nan",
    "CompressedDataSize = 0", "CompressedDataSize = -1", "CompressedDataSize = 99999999999",
    "BinaryData = False", "ElementDataFile = LIST 2D", "ElementDataFile = ", "ObjectSubType = x",
    "ElementSize = 1 1 1", "Rotation = 1 0 0 0 1 0 0 0 1", "Position = nan 0 0", "=", ":", " ",
)  # fmt: skip


def _text(part: Part) -> tuple[list[str], bytes]:
    """Lines of a text header, and the bytes behind it."""
    end = re.search(rb"\n\n" if part.ext == ".nrrd" else rb"ElementDataFile[^\n]*\n", part.content)
    stop = end.end() if end else len(part.content)
    head = part.content[:stop].decode("utf-8", "surrogateescape")
    return head.split("\n")[:-1], part.content[stop:]


def _joined(lines: list[str], rest: bytes, ending: str = "\n") -> bytes:
    return "".join(line + ending for line in lines).encode("utf-8", "surrogateescape") + rest


@_hostile("content", ITK)
def text_header(rng: random.Random, case: Case, part: Part) -> None:
    lines, rest = _text(part)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(max(len(lines), 1))
        turn = rng.randrange(6)
        if turn == 0 and lines:
            del lines[at]
        elif turn == 1 and lines:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif turn == 2 and lines:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif turn == 3:
            lines.insert(at, rng.choice(_LINES))
        elif lines:
            mark = ": " if part.ext == ".nrrd" else " = "
            lines[at] = lines[at].partition(mark)[0] + mark + rng.choice(_VALUES)
    part.content = _joined(lines, rest, "\r\n" if rng.random() < 0.05 else "\n")


@_hostile("content", ITK)
def text_dimension_bomb(rng: random.Random, case: Case, part: Part) -> None:
    lines, rest = _text(part)
    sizes = rng.choice(("32767 32767 32767", "2000 2000 2000", "4294967295 4294967295 4294967295"))
    mark = "sizes: " if part.ext == ".nrrd" else "DimSize = "
    lines = [mark + sizes if line.startswith(mark) else line for line in lines]
    part.content = _joined(lines, rest)


@_hostile("content", ITK)
def compressed_payload(rng: random.Random, case: Case, part: Part) -> None:
    """Damage in a compressed payload, most of it in what only a checksum can tell."""
    lines, rest = _text(part)
    data = bytearray(part.voxels if part.voxels is not None else rest)
    if not data:
        return
    at = rng.choice((len(data) - 1 - rng.randrange(min(9, len(data))), rng.randrange(len(data))))
    if rng.random() < 0.7:
        data[at] ^= 1 << rng.randrange(8)
    else:
        data = data[:at]
    if part.voxels is not None:
        part.voxels = bytes(data)
    else:
        part.content = _joined(lines, bytes(data))


@_hostile("content", ITK)
def detached_outside(rng: random.Random, case: Case, part: Part) -> None:
    """Name the secret, in every way that a header can; a twin of it lies in no raw root."""
    lines, rest = _text(part)
    target = rng.choice(("../../secret.raw", "{base}/secret.raw", "../masks/../../secret.raw"))
    style = rng.randrange(4)
    if part.ext == ".nrrd":
        names = ("data file", "datafile", "Data File", "DATA FILE")
        line = f"{rng.choice(names)}: {target}"
        if style == 3:
            line = f"data file: LIST\n{target}"
        lines[-1:-1] = [line]
        rest = b"" if style else rest
    else:
        spelling = ("ElementDataFile = ", "ElementDataFile=", "ElementDataFile : ")[style % 3]
        line = f"ElementDataFile = LIST\n{target}" if style == 3 else spelling + target
        lines = [line if old.startswith("ElementDataFile") else old for old in lines]
        lines = [old.replace("CompressedData = True", "CompressedData = False") for old in lines]
        part.voxels = None
    part.content = _joined(lines, rest)
    case.outside = True


# ---------------------------------------------------------------- streams


@_hostile("stream")
def cut(rng: random.Random, case: Case, part: Part) -> None:
    part.data = part.data[: rng.randrange(max(len(part.data), 1))]


@_hostile("stream", (".nii.gz",))
def cut_at_the_end(rng: random.Random, case: Case, part: Part) -> None:
    part.data = part.data[: -rng.randrange(1, 12)]


@_hostile("stream", (".nii.gz",))
def stream_flips(rng: random.Random, case: Case, part: Part) -> None:
    data = bytearray(part.data)
    top = rng.choice((12, len(data)))
    for _ in range(rng.choice((1, 1, 5))):
        at = rng.randrange(min(top, len(data))) if rng.random() < 0.8 else -rng.randrange(1, 9)
        data[at] ^= 1 << rng.randrange(8)
    part.data = bytes(data)


@_hostile("stream", (".nii.gz",))
def members(rng: random.Random, case: Case, part: Part) -> None:
    content = part.content
    cuts = sorted(rng.randrange(len(content) + 1) for _ in range(rng.choice((1, 3, 40))))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    if rng.random() < 0.3:
        rng.shuffle(pieces)
    if rng.random() < 0.3:
        pieces.insert(rng.randrange(len(pieces) + 1), b"")
    glue = rng.choice((b"", b"", b"\0", b"x"))
    part.data = glue.join(gzip.compress(piece, part.level) for piece in pieces)


@_hostile("stream", (".nii.gz",))
def gzip_bomb(rng: random.Random, case: Case, part: Part) -> None:
    bomb = gzip.compress(bytes(rng.choice((8, 64)) * _MIB), 9)
    at = rng.choice((0, 348, 352, len(part.content)))
    start, rest = gzip.compress(part.content[:at]), gzip.compress(part.content[at:])
    part.data = start + bomb + rest


@_hostile("stream", (".nii.gz",))
def gzip_header(rng: random.Random, case: Case, part: Part) -> None:
    flags = rng.choice((2, 4, 8, 16, 28, 30, 32, 64, 128, 255))
    fields = b""
    if flags & 4:
        fields += rng.choice((b"\x04\0abcd", b"\xff\xff", b"\x10\0" + MARK))
    if flags & 8:
        fields += MARK + rng.choice((b"\0", b""))
    if flags & 16:
        fields += MARK + b"\0"
    head = bytearray(part.data[:10].ljust(10, b"\0"))
    head[3] = flags
    whole = bytes(head) + fields
    if flags & 2:
        whole += struct.pack("<H", zlib.crc32(whole) & 0xFFFF if rng.random() < 0.7 else 0)
    part.data = whole + part.data[10:]


@_hostile("stream", (".nii.gz",))
def gzip_trailer(rng: random.Random, case: Case, part: Part) -> None:
    ends = (b"\0" * 1000, b"x", b"\x1f\x8b", b"\x1f\x8b\x08\0\0", gzip.compress(b""), MARK)
    part.data += rng.choice((*ends, part.data, b"\0\0" + gzip.compress(b"")))


@_hostile("stream", NIFTI)
def zipped_twice(rng: random.Random, case: Case, part: Part) -> None:
    part.data = gzip.compress(part.data)


@_hostile("stream")
def other_file(rng: random.Random, case: Case, part: Part) -> None:
    memory = io.BytesIO()
    turn = rng.randrange(9)
    if turn == 0:
        with zipfile.ZipFile(memory, "w") as archive:
            archive.writestr("../../escaped.nii", part.content)
    elif turn == 1:
        with tarfile.open(fileobj=memory, mode="w:gz") as tar:
            tar.addfile(tarfile.TarInfo("../../escaped.nii"))
    part.data = (
        memory.getvalue(),
        memory.getvalue(),
        b"<html>404: not here</html>\n" * 40,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n",
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        bytes(128) + b"DICM" + bytes(500),
        rng.randbytes(rng.choice((1, 3, 17, 400, 5000))),
        bytes(rng.choice((1, 348, 352, 100_000))),
        b"\xfd7zXZ\0" + bytes(100),
    )[turn]


@_hostile("stream")
def no_byte(rng: random.Random, case: Case, part: Part) -> None:
    part.data = b""


# ---------------------------------------------------------------- disk


@_hostile("disk")
def folder(rng: random.Random, case: Case, part: Part) -> None:
    part.place = lambda path: path.mkdir()


@_hostile("disk")
def pipe(rng: random.Random, case: Case, part: Part) -> None:
    part.place = os.mkfifo


@_hostile("disk", (".mhd",))
def pipe_for_voxels(rng: random.Random, case: Case, part: Part) -> None:
    part.voxels = None

    def place(path: Path) -> None:
        path.write_bytes(part.data)
        os.mkfifo(path.with_name(f"{case.name}.raw"))

    part.place = place


@_hostile("disk")
def socket_file(rng: random.Random, case: Case, part: Part) -> None:
    def place(path: Path) -> None:
        # The name of a socket is short; a folder's descriptor stands for the long part.
        parent = os.open(path.parent, os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"/proc/self/fd/{parent}/s")
            (path.parent / "s").rename(path)
        finally:
            os.close(parent)

    part.place = place


@_hostile("disk")
def link_to_nowhere(rng: random.Random, case: Case, part: Part) -> None:
    target = rng.choice(("absent", "absent/absent", "", "x" * 300, "good.nii.gz/below"))
    part.place = lambda path: path.symlink_to(target or "absent\n")


@_hostile("disk")
def link_loop(rng: random.Random, case: Case, part: Part) -> None:
    longer = rng.random() < 0.5

    def place(path: Path) -> None:
        if longer:
            path.symlink_to(f"{path.name}.loop")
            path.with_name(f"{path.name}.loop").symlink_to(path.name)
        else:
            path.symlink_to(path.name)

    part.place = place


@_hostile("disk")
def link_outside(rng: random.Random, case: Case, part: Part) -> None:
    case.outside = True
    turn = rng.randrange(6)

    def place(path: Path) -> None:
        base = path.parent.parent.parent
        targets = (
            f"../../secret{part.ext}",
            str(base / f"secret{part.ext}"),
            "../../secret.raw",
            "/dev/zero",
            "../..",
            "/proc/self/cmdline",
        )
        path.symlink_to(targets[turn])

    part.place = place


@_hostile("disk", (".mhd",))
def voxels_linked_outside(rng: random.Random, case: Case, part: Part) -> None:
    case.outside = True
    part.voxels = None

    def place(path: Path) -> None:
        path.write_bytes(part.data)
        path.with_name(f"{case.name}.raw").symlink_to("../../secret.raw")

    part.place = place


@_hostile("disk")
def link_inside(rng: random.Random, case: Case, part: Part) -> None:
    turn = rng.randrange(3)

    def place(path: Path) -> None:
        if turn == 0:
            path.symlink_to(f"../{part.folder}/good.nii.gz")
        elif turn == 1:
            path.symlink_to("..")
        else:
            hidden = path.with_name(f".{case.name}.kept")
            hidden.write_bytes(part.data)
            path.symlink_to(hidden.name)

    part.place = place


@_hostile("disk")
def not_readable(rng: random.Random, case: Case, part: Part) -> None:
    def place(path: Path) -> None:
        path.write_bytes(part.data)
        path.chmod(0)

    part.place = place


@_hostile("disk")
def half_a_case(rng: random.Random, case: Case, part: Part) -> None:
    part.place = lambda path: None


@_hostile("disk", NIFTI)
def both_suffixes(rng: random.Random, case: Case, part: Part) -> None:
    for ext in NIFTI:
        case.extra[f"{part.folder}/{case.name}{ext}"] = part.data


NAMES = (
    "a b {n}", " {n}", "{n} ", "new\nline{n}", "{n}\n", "quo'te\"{n}", "t\tab{n}", "\r{n}",
    "\u00fcn\u00efc\u00f6d\u00e9-\u75c5\u5909{n}", "\U0001f600{n}", "e\u0301{n}", "\u202egnp{n}",
    "--out=elsewhere{n}", "-rf{n}", "--{n}", "$(touch owned){n}", "`id`{n}", "a;b|c&{n}",
    "%s%n%03d{n}", "back\\slash{n}", "c*s?[e]{n}", "{{case}}{n}", "{{ext}}{{lesion:02d}}{n}",
    "x.nii{n}", "{n}.nii.gz.nii", "\x1b[31mred{n}", "\x01\x7f{n}", "null{n}", "1e{n}", "0{n}",
    "a,b={n}", "#{n}", "~{n}", "good\u200b{n}", "GOOD{n}", "con{n}", "L{l}{n}", "M{m}{n}",
    "\udcff{n}",
    "\udc80\udcfe-{n}", "{n}_lesion_01_sample_0",
)  # fmt: skip


@_hostile("name")
def strange_name(rng: random.Random, case: Case, part: Part) -> None:
    number = case.name[-2:]
    case.name = rng.choice(NAMES).format(n=number, l="o" * 197, m="\u00f1" * 119)
