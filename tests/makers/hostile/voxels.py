"""Damage to voxels and to NIfTI headers."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from makers.hostile.parts import MARK, NIFTI, Case, Part, hostile

_CT_TYPES = ("i1", "u1", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "c8", "c16", "f16")


@hostile("array")
def wrong_dtype(rng: random.Random, case: Case, part: Part) -> None:
    kind = rng.choice(_CT_TYPES if part.ext in NIFTI else _CT_TYPES[:9])
    dtype = np.dtype(np.longdouble) if kind == "f16" else np.dtype(kind)
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    values = np.nan_to_num(part.array) if limits else part.array
    with np.errstate(all="ignore"):
        values = np.clip(values, limits.min, limits.max) if limits else values
        part.array = values.astype(dtype)


@hostile("array", NIFTI)
def colours(rng: random.Random, case: Case, part: Part) -> None:
    names = rng.choice(("RGB", "RGBA"))
    part.array = np.ones(part.array.shape, dtype=[(name, "u1") for name in names])


@hostile("array")
def strange_numbers(rng: random.Random, case: Case, part: Part) -> None:
    dtype = rng.choice(("f4", "f8"))
    part.array = part.array.astype(dtype)
    value = rng.choice((np.nan, np.inf, -np.inf, 1e30, -1e30, 1e9, 2.0**31, -(2.0**31), 5e-324))
    with np.errstate(over="ignore"):
        for _ in range(rng.choice((1, 40))):
            at = tuple(rng.randrange(n) for n in part.array.shape)
            part.array[at] = np.dtype(dtype).type(value)


@hostile("array")
def huge_whole_numbers(rng: random.Random, case: Case, part: Part) -> None:
    dtype = np.dtype(rng.choice(("i4", "u4", "i8", "u8")))
    part.array = np.abs(part.array.astype("i8")).astype(dtype)
    at = tuple(rng.randrange(n) for n in part.array.shape)
    limits = np.iinfo(dtype)
    part.array[at] = rng.choice((limits.min, limits.max, (1 << 31) - 1, limits.max - 1))


@hostile("array")
def fractional_mask(rng: random.Random, case: Case, part: Part) -> None:
    values = case.mask.array.astype(rng.choice(("f4", "f8")))
    value = rng.choice((0.5, 0.999, 1.0000001, 1e-30, 1.5))
    marked = np.argwhere(values)
    some = rng.choice((1, len(marked)))
    values[tuple(marked[:some].T)] *= value
    case.mask.array = values


@hostile("array")
def negative_mask(rng: random.Random, case: Case, part: Part) -> None:
    values = case.mask.array.astype(rng.choice(("i1", "i2", "i4", "f4")))
    values[3, 3, 3] = rng.choice((-1, -128))
    case.mask.array = values if rng.random() < 0.5 else -values


@hostile("array")
def large_mask_values(rng: random.Random, case: Case, part: Part) -> None:
    top = rng.choice((255, 1 << 16, 1 << 30, (1 << 31) - 1, (1 << 32) - 1, (1 << 32) + 1))
    values = case.mask.array.astype("i8" if top >> 31 else "i4")
    values[values == rng.choice((1, 2))] = top
    case.mask.array = values


@hostile("array")
def specks(rng: random.Random, case: Case, part: Part) -> None:
    shape = (28, 28, 28)
    mask = np.indices(shape).sum(axis=0) % 2
    if rng.random() < 0.5:  # each speck a number of its own, for the rule `values`
        mask = mask * np.arange(mask.size).reshape(shape)
    case.mask.array = mask.astype("i4")
    case.image.array = np.random.default_rng(1).integers(-900, 900, shape).astype("i2")
    case.mask.affine = case.image.affine


@hostile("array")
def mask_of_one_value(rng: random.Random, case: Case, part: Part) -> None:
    case.mask.array = np.full_like(case.mask.array, rng.choice((0, 1, 2, 255)))


@hostile("array")
def noise_for_mask(rng: random.Random, case: Case, part: Part) -> None:
    noise = np.random.default_rng(rng.getrandbits(32))
    # In a corner alone, for the specks of a whole scan would be hundreds of VOIs.
    case.mask.array[:8, :8, :8] = noise.integers(0, rng.choice((2, 3, 4)), (8, 8, 8), "u1")


@hostile("array")
def swapped(rng: random.Random, case: Case, part: Part) -> None:
    for name in ("array", "affine"):
        one, other = getattr(case.image, name), getattr(case.mask, name)
        setattr(case.image, name, other)
        setattr(case.mask, name, one)


@hostile("array")
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


@hostile("array")
def tilted_affine(rng: random.Random, case: Case, part: Part) -> None:
    angle = rng.choice((0.2, 0.7853981633974483, 0.8, 1.5))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn = turn[[*rng.sample(range(3), 3), 3]] if rng.random() < 0.5 else turn
    case.image.affine = turn @ case.image.affine
    case.mask.affine = turn @ case.mask.affine


@hostile("array", NIFTI)
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


@hostile("content", NIFTI)
def lying_nifti_field(rng: random.Random, case: Case, part: Part) -> None:
    names = rng.sample(sorted(_FIELDS), rng.choice((1, 1, 2)))

    def change(record: Any) -> None:
        for name in names:
            value = rng.choice(_FIELDS[name])
            if isinstance(value, int) and record.dtype[name].kind == "u":
                value %= 256
            record[name] = value

    _edit(part, change)


@hostile("content", NIFTI)
def scale(rng: random.Random, case: Case, part: Part) -> None:
    def change(record: Any) -> None:
        record["scl_slope"] = rng.choice(_FLOATS)
        record["scl_inter"] = rng.choice(_FLOATS)

    _edit(part, change)


@hostile("content", NIFTI)
def lying_dims(rng: random.Random, case: Case, part: Part) -> None:
    def change(record: Any) -> None:
        at = rng.randrange(8)
        true = int(record["dim"][at])
        record["dim"][at] = rng.choice((-1, 0, 1, 2, 7, 8, true + 1, true - 1, 32767, -32768))

    _edit(part, change)


@hostile("content", NIFTI)
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


@hostile("content", NIFTI)
def quaternion(rng: random.Random, case: Case, part: Part) -> None:
    def change(record: Any) -> None:
        record["sform_code"], record["qform_code"] = 0, 1
        for name in ("b", "c", "d"):
            record[f"quatern_{name}"] = rng.choice((*_FLOATS, rng.uniform(-1.1, 1.1)))

    _edit(part, change)


@hostile("content", NIFTI)
def dimension_bomb(rng: random.Random, case: Case, part: Part) -> None:
    size = rng.choice((2000, 30000, 32767))

    def change(record: Any) -> None:
        top = (1 << 62) if part.second and rng.random() < 0.5 else size
        record["dim"][1:4] = top
        if rng.random() < 0.3:
            record["dim"][0], record["dim"][4:] = 7, top

    _edit(part, change)


@hostile("content")
def content_flips(rng: random.Random, case: Case, part: Part) -> None:
    data = bytearray(part.content)
    for _ in range(rng.choice((1, 2, 8))):
        data[rng.randrange(min(len(data), 600))] ^= 1 << rng.randrange(8)
    part.content = bytes(data)


@hostile("content")
def content_cut(rng: random.Random, case: Case, part: Part) -> None:
    top = rng.choice((4, 360, len(part.content)))
    part.content = part.content[: rng.randrange(min(top, len(part.content)))]


@hostile("content")
def content_longer(rng: random.Random, case: Case, part: Part) -> None:
    more = rng.choice((b"\0", b"\0" * 512, MARK * 3, part.content))
    part.content += more
