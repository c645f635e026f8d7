"""A hostile case before it is damaged: a small good scan and mask, from array to file."""

from __future__ import annotations

import gzip
import os
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from demo.phantom import ORIENTATIONS, store

MARK = b"Z" * 16
SECRET = MARK * 2048
SHAPE = (24, 20, 16)
AFFINE = np.array([[0.8, 0, 0, -31.5], [0, 0.8, 0, 12.75], [0, 0, 2.5, -804.0], [0, 0, 0, 1.0]])
NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".mha", ".mhd")
ANY = NIFTI + ITK
MIB = 1 << 20
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
        """Name in the manifest: bytes that are not UTF-8 are spelt out."""
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
STAGES = ("name", "array", "content", "stream", "disk")
KNOWN: list[tuple[str, tuple[str, ...], Mutation]] = []


def hostile(stage: str, forms: tuple[str, ...] = ANY) -> Callable[[Mutation], Mutation]:
    def register(function: Mutation) -> Mutation:
        KNOWN.append((stage, forms, function))
        return function

    return register


def good_case(rng: random.Random, name: str, ext: str) -> Case:
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


def encode(part: Part, name: str) -> None:
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
    part.content = joined(lines, b"")
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


def pack(part: Part) -> None:
    zipped = part.ext == ".nii.gz"
    part.data = gzip.compress(part.content, part.level, mtime=0) if zipped else part.content


def joined(lines: list[str], rest: bytes, ending: str = "\n") -> bytes:
    return "".join(line + ending for line in lines).encode("utf-8", "surrogateescape") + rest
