"""Independent reading of damaged files, and what a VOI of them must hold.

Nothing here uses the readers of the package: nibabel with all its checks, Python's own
gzip and zlib to the end of every stream, SimpleITK, and a plain parser of NRRD and
MetaImage that refuses payloads which do not hold what their header claims.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import shutil
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel import imageglobals
from numpy.typing import NDArray
from scipy import ndimage

from makers.hostile.parts import MARK

VOI_SHAPE = (256, 256, 128)
CENTRE = (128, 128, 64)
_MAXIMUM_BYTES = 1 << 28
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_TYPES = {
    "signed char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "longlong": "i8", "ulonglong": "u8", "float": "f4", "double": "f8",
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip


class RefusedError(Exception):
    """The independent reader cannot read the file, so nobody should."""


Reading = tuple[NDArray[Any], NDArray[np.float64]]


def read_independently(path: Path) -> Reading:
    """Values (scale applied) in stored order, and the affine to RAS mm."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        imageglobals.logger.disabled = True
        try:
            nifti = path.name.lower().endswith((".nii", ".nii.gz"))
            values, affine = _nifti(path) if nifti else _itk(path)
            values = values.reshape(values.shape[:3] + _ones(values.shape[3:]))
        except RefusedError:
            raise
        except Exception as error:
            raise RefusedError(f"{type(error).__name__}: {error}") from error
        finally:
            imageglobals.logger.disabled = False
    if not np.isfinite(affine).all():
        raise RefusedError("affine is not finite")
    return values, np.asarray(affine, dtype=np.float64)


def _ones(rest: tuple[int, ...]) -> tuple[int, ...]:
    if any(n != 1 for n in rest):
        raise RefusedError(f"a fourth axis of {rest}")
    return ()


def _nifti(path: Path) -> Reading:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    size = {int.from_bytes(data[:4], "little"), int.from_bytes(data[:4], "big")}
    family = nib.Nifti2Image if 540 in size else nib.Nifti1Image
    image = family.from_bytes(data)
    if math.prod(image.shape) * 8 > _MAXIMUM_BYTES or len(image.shape) < 3:
        raise RefusedError(f"shape {image.shape}")
    stored = image.dataobj.get_unscaled()
    if stored.dtype.kind not in "iuf":
        raise RefusedError(f"stored as {stored.dtype}")
    slope, inter = image.dataobj.slope, image.dataobj.inter
    if (slope, inter) != (1.0, 0.0):
        stored = stored.astype(np.float64) * slope + inter
    return stored, image.affine


def _itk(path: Path) -> Reading:
    with tempfile.TemporaryDirectory() as folder:
        image = sitk.ReadImage(str(_for_itk(path, Path(folder))))
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise RefusedError("several values a voxel")
    values = sitk.GetArrayFromImage(image).T
    dimension = image.GetDimension()
    affine = np.eye(4)
    direction = np.reshape(image.GetDirection(), (dimension, dimension))[:3, :3]
    affine[:3, :3] = direction * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    _same_as_plain(path, values)
    return values, _LPS_TO_RAS @ affine


def _for_itk(path: Path, folder: Path) -> Path:
    """Same volume where SimpleITK is known to fail on what is not the fault of the file.

    It ends the process at a name that is not UTF-8, looks for `~name` in a home, and gives
    whatever the memory held for compressed voxels behind their header without
    `CompressedDataSize`.
    """
    name, data = os.fsencode(path.stem), path.read_bytes()
    head, mark, payload = data.partition(b"ElementDataFile = LOCAL\n")
    if path.suffix == ".mha" and b"CompressedData = True\n" in head and mark:
        if b"CompressedDataSize" not in head:
            data = head + b"CompressedDataSize = %d\n" % len(payload) + mark + payload
    elif path.name.isascii() and not path.name.startswith("~"):
        return path
    twin = folder / f"twin{path.suffix}"
    twin.write_bytes(data.replace(b"ElementDataFile = " + name, b"ElementDataFile = twin"))
    if (voxels := path.with_suffix(".raw")).is_file():
        shutil.copy(voxels, folder / "twin.raw")
    return twin


def _same_as_plain(path: Path, values: NDArray[Any]) -> None:
    """Compare with the bytes themselves, where the header is plain enough to tell."""
    raw = path.read_bytes()
    if raw.startswith(b"NRRD"):
        head, _, payload = raw.partition(b"\n\n")
        pairs = [line.split(b": ", 1) for line in head.split(b"\n")[1:] if b":=" not in line]
        fields = {p[0].decode("latin-1"): p[1].decode("latin-1") for p in pairs if len(p) == 2}
        known = {"type", "dimension", "space", "sizes", "space directions", "kinds", "endian"}
        plain = set(fields) <= known | {"encoding", "space origin", "data file"}
        named = fields.get("data file", "LOCAL")
        coded = {"raw": None, "gzip": _inflated}
        decode = coded.get(fields.get("encoding", ""), NotImplemented)
        kind, sizes = fields.get("type", ""), fields.get("sizes", "")
        order = {"little": "<", "big": ">"}.get(fields.get("endian", "little"), "?")
    else:
        end = re.search(rb"ElementDataFile = ([^\n]*)\n", raw)
        head, payload = (raw[: end.end()], raw[end.end() :]) if end else (raw, b"")
        pairs = [line.split(b" = ", 1) for line in head.split(b"\n")[:-1]]
        fields = {p[0].decode("latin-1"): p[1].decode("latin-1") for p in pairs if len(p) == 2}
        plain = not any(
            name in head for name in (b"HeaderSize", b"BinaryData = F", b"ChannelS", b"Channels")
        )
        named = fields.get("ElementDataFile", "LOCAL")
        decode = {"True": _inflated, "False": None}.get(
            fields.get("CompressedData", "False"), NotImplemented
        )
        kind, sizes = fields.get("ElementType", ""), fields.get("DimSize", "")
        msb = fields.get("ElementByteOrderMSB", fields.get("BinaryDataByteOrderMSB", "False"))
        order = {"False": "<", "True": ">"}.get(msb, "?")
    repeated = len({pair[0] for pair in pairs}) != len(pairs)
    if not plain or repeated or decode is NotImplemented or kind not in _TYPES or order == "?":
        return
    if not re.fullmatch(r"\d+( \d+)*", sizes):
        return
    shape = tuple(map(int, sizes.split()))
    payload = (
        payload
        if named == "LOCAL"
        else (path.parent / os.fsdecode(named.encode("latin-1"))).read_bytes()
    )
    payload = payload if decode is None else decode(payload)
    dtype = np.dtype(order + _TYPES[kind])
    if len(payload) < math.prod(shape) * dtype.itemsize:
        raise RefusedError(f"payload of {len(payload)} bytes cannot hold {shape} {dtype}")
    expected = np.frombuffer(payload, dtype, math.prod(shape)).reshape(shape, order="F")
    if not np.array_equal(expected, values, equal_nan=dtype.kind == "f"):
        raise RefusedError("SimpleITK gives other voxels than the file holds")


def _inflated(payload: bytes) -> bytes:
    """First stream of a payload, gzip or zlib, to its end and checksum."""
    decoder = zlib.decompressobj(47)
    data = decoder.decompress(payload)
    if not decoder.eof:
        raise RefusedError("the compressed payload is cut short")
    return data


def check_voi(
    row: dict[str, Any], image: Path, label: Path, out: Path, *, rule: Any, padded_by_scan: bool
) -> None:
    """Hold one `ok` row against an independent reading of its two files.

    Parameters
    ----------
    row : dict
    image, label : Path
        The files that it was made from.
    out : Path
    rule : tuple of int, or None
        Lesion values of the rule `components`; None for the rule `values`.
    """
    try:
        scan, scan_affine = read_independently(image)
        mask, mask_affine = read_independently(label)
    except RefusedError as error:
        raise AssertionError(f"wrong success: nobody else can read this: {error}") from error
    voi, marked = (_written(out / row[f"{kind}_path"]) for kind in ("image", "label"))
    affine = np.reshape(row["affine"], (4, 4))
    for written in (voi, marked):
        assert written.shape == VOI_SHAPE
        assert np.array_equal(written.affine, affine.astype(np.float32)), "header's affine"
    turned, start = _placed(scan, scan_affine, affine, 1e-2)
    region, ours = _region(turned, start)
    assert np.isfinite(region.astype(np.float64)).all(), "wrong success: not finite"
    whole = region if region.dtype.kind in "iu" else np.rint(region.astype(np.float64))
    low, high = int(whole.min()), int(whole.max())
    pad = low - 1
    if padded_by_scan:
        finite = turned[np.isfinite(turned)] if turned.dtype.kind == "f" else turned
        pad = int(np.rint(finite.min()))
    assert (row["hu_min"], row["hu_max"], row["pad_value_hu"]) == (low, high, pad)
    voxels = np.asarray(voi.dataobj)
    assert np.array_equal(voxels[ours], whole), "image voxels"
    assert np.count_nonzero(voxels != pad) == np.count_nonzero(voxels[ours] != pad), "padding"
    if not padded_by_scan:
        assert np.count_nonzero(voxels != pad) == whole.size, "a real voxel holds the sentinel"
    _check_label(row, np.asarray(marked.dataobj), mask, mask_affine, scan, scan_affine, rule)


def _on_scan(
    mask: NDArray[Any],
    mask_affine: NDArray[np.float64],
    shape: tuple[int, ...],
    scan_affine: NDArray[np.float64],
) -> NDArray[Any]:
    """Cropped mask on the whole grid of its scan; its voxels must be voxels of the scan."""
    to_scan = np.linalg.inv(scan_affine) @ mask_affine
    turn, start = np.rint(to_scan[:3, :3]).astype(int), np.rint(to_scan[:3, 3]).astype(int)
    assert np.abs(to_scan[:3, :3] - turn).max() < 1e-3, "another grid was taken for a part"
    assert abs(round(np.linalg.det(turn))) == 1, "another grid was taken for a part"
    assert np.abs(to_scan[:3, 3] - start).max() < 0.05, "between voxels"
    places = np.tensordot(turn, np.indices(mask.shape), 1) + start[:, None, None, None]
    whole = np.zeros(shape, mask.dtype)
    inside = ((places >= 0) & (places < np.reshape(shape, (3, 1, 1, 1)))).all(axis=0)
    assert not mask[~inside].any(), "it marks voxels beyond the scan"
    whole[tuple(places[:, inside])] = mask[inside]
    return whole


def _check_label(
    row: dict[str, Any],
    label: NDArray[Any],
    mask: NDArray[Any],
    mask_affine: NDArray[np.float64],
    scan: NDArray[Any],
    scan_affine: NDArray[np.float64],
    rule: Any,
) -> None:
    affine = np.reshape(row["affine"], (4, 4))
    if "mask_affine_ignored" in row["qc_flags"]:
        assert mask.shape == scan.shape
        mask_affine = scan_affine
    if "mask_on_subgrid" in row["qc_flags"]:
        mask, mask_affine = _on_scan(mask, mask_affine, scan.shape, scan_affine), scan_affine
    mask_affine = _snapped(mask_affine, scan_affine, scan.shape)
    turned, start = _placed(mask, mask_affine, affine, 1e-2)
    other, scan_start = _placed(scan, scan_affine, affine, 1e-2)
    assert turned.shape == other.shape and start == scan_start, "two grids were laid over another"
    used = turned[turned != 0].astype(np.float64)
    assert np.isfinite(used).all() and np.abs(used - np.rint(used)).max(initial=0) <= 1e-6
    numbers = np.rint(turned.astype(np.float64))
    if rule is None:
        wanted = numbers == row["lesion_index"]
    else:
        components, _ = ndimage.label(np.isin(numbers, rule))
        found, first = np.unique(components, return_index=True)
        by_first = [n for _, n in sorted(zip(first, found, strict=True)) if n]
        wanted = components == by_first[row["lesion_index"] - 1]
    region, ours = _region(wanted, start)
    assert label.dtype == np.uint8
    assert np.array_equal(label[ours], region), "label is not the lesion"
    assert np.count_nonzero(label) == np.count_nonzero(region) == row["mask_voxels"]
    assert label[CENTRE] == 1


def _written(path: Path) -> Any:
    data = gzip.decompress(path.read_bytes())
    assert MARK not in data, f"{path.name} holds what lies outside the root, or free text"
    image = nib.Nifti1Image.from_bytes(data)
    texts = ("descrip", "aux_file", "intent_name", "db_name", "data_type")
    assert not any(image.header[name].item() for name in texts)
    return image


def _snapped(
    its: NDArray[np.float64], scan: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Affine of a mask, moved onto the scan's grid; no corner may move by 0.15 of a voxel."""
    exact = np.linalg.inv(its) @ scan
    turn = np.rint(exact)
    middle = np.array([*(n // 2 for n in shape), 1.0])
    turn[:3, 3] = np.rint(exact @ middle - turn[:, :3] @ middle[:3])[:3]
    corners = np.array([[x, y, z, 1] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    corners[:, :3] *= np.array(shape) - 1
    assert np.abs((exact - turn) @ corners.T).max() <= 0.15, "the mask is on another grid"
    return scan @ np.linalg.inv(turn)


def _placed(
    array: NDArray[Any], its: NDArray[np.float64], voi: NDArray[np.float64], tolerance: float
) -> tuple[NDArray[Any], tuple[int, ...]]:
    """View of a volume along a VOI's axes, and where the VOI starts in it."""
    inverse = np.linalg.inv(its[:3, :3])
    exact = inverse @ voi[:3, :3]
    turn = np.rint(exact).astype(int)
    size = max(array.shape)
    assert np.abs(exact - turn).max() * size <= max(tolerance, 1e-3 * size), "axes do not align"
    assert np.array_equal(np.abs(turn).sum(axis=0), [1, 1, 1])
    assert np.array_equal(np.abs(turn).sum(axis=1), [1, 1, 1])
    offset = inverse @ (voi[:3, 3] - its[:3, 3])
    whole = np.rint(offset)
    assert np.abs(offset - whole).max() <= tolerance, f"VOI starts between voxels: {offset}"
    axes = np.argmax(np.abs(turn), axis=0)
    start = []
    for at, axis in enumerate(axes):
        first = int(whole[axis])
        start.append(first if turn[axis, at] > 0 else array.shape[axis] - 1 - first)
    flips = tuple(slice(None, None, int(turn[axis, at])) for at, axis in enumerate(axes))
    return array.transpose(axes)[flips], tuple(start)


def _region(
    array: NDArray[Any], start: tuple[int, ...]
) -> tuple[NDArray[Any], tuple[slice, slice, slice]]:
    """Part of an array that a VOI covers, and where it lies in the VOI."""
    theirs, ours = [], []
    for at, size, full in zip(start, VOI_SHAPE, array.shape, strict=True):
        low, high = max(at, 0), min(at + size, full)
        assert low < high, f"a VOI at {start} does not meet a scan of {array.shape}"
        theirs.append(slice(low, high))
        ours.append(slice(low - at, high - at))
    return array[tuple(theirs)], (ours[0], ours[1], ours[2])
