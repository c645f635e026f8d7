"""CT volumes from DICOM series: single-frame files in any order, any transfer syntax.

Each file is read as a whole once, and what is hashed is what is decoded. The headers,
looked at before, tell the order of the slices and the size of the one array that is
allocated; a file whose header has changed in between is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os.path import realpath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.dicom.codestream import MAXIMUM_RATIO
from uls_data.dicom.elements import Header, Tag
from uls_data.dicom.header import inflated, parse_header, read_header
from uls_data.dicom.inventory import modality_of
from uls_data.dicom.phases import DrawnOn, stack_of
from uls_data.dicom.pixel_format import PixelFormat
from uls_data.dicom.pixels import (
    check_room,
    has_padding_behind,
    padding_limits,
    pixel_format,
    read_pixels,
)
from uls_data.dicom.stack import STRICT, SeriesPolicy, Stack, plane_of
from uls_data.errors import CaseError
from uls_data.ids import hash_of, readable
from uls_data.io import sha256_bytes, sha256_file
from uls_data.outcome import Flag, Reason
from uls_data.volumes.volume import Volume, check_file, check_size

__all__ = ["STRICT", "Series", "SeriesPolicy", "read_series", "series_size"]

_WANTED = frozenset(Tag) - {Tag.PATIENT_ID}
_ENHANCED = frozenset(
    (
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT
    )
)
# Headers and what writers hang behind the pixels. The whole file is held in memory once.
_MAXIMUM_BESIDE_BYTES = 1 << 26
_INT16, _INT32 = np.iinfo(np.int16), np.iinfo(np.int32)


@dataclass(frozen=True)
class Series:
    """A CT volume and which slice of it is which SOP instance.

    Attributes
    ----------
    volume : Volume
        Stored array of shape (columns, rows, slices), x fastest in memory, slices by
        ascending position along the slice normal. Its `sha256` is over the sorted hashes of
        all files of the series.
    sop_instance_uids : tuple of str
        Of each slice, in that order; empty where a file names none, or one that slices at other
        places share: only its position tells such a slice.
    shared_uids : frozenset of str
        Those that are shared.
    positions_mm : tuple of float
        Of each slice along the slice normal.
    left_out : str
        Words for the slices of other stacks in the series, such as another phase; empty without.
    headers : tuple of Header
        Of all slices, by name, also of those that are left out; without PatientID.
    """

    volume: Volume
    sop_instance_uids: tuple[str, ...]
    positions_mm: tuple[float, ...]
    shared_uids: frozenset[str] = frozenset()
    left_out: str = ""
    headers: tuple[Header, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class _Slice:
    path: Path
    file_bytes: int
    header: Header
    form: PixelFormat
    # None where the file has neither slope nor intercept.
    scale: tuple[float, float] | None


@dataclass(frozen=True)
class _Scale:
    """Type of the array, and how values get there: as stored, or as HU slice by slice."""

    dtype: np.dtype[Any]
    slope: float
    intercept: float
    per_slice: bool


def read_series(
    files: Sequence[Path],
    root: Path,
    policy: SeriesPolicy = STRICT,
    drawn_on: DrawnOn | None = None,
) -> Series:
    """Read the slices of one CT series as a volume.

    Values are kept as stored, with the slope and the intercept that all slices share.
    Where slices differ in them (or in how values are stored), HU are computed slice by
    slice, as int16, int32 or, where a scale is not whole, float32, and flagged
    `per_slice_rescale`. Files without any rescale values hold HU (PS3.3 C.11.1: identity).
    Slices that share a SOP instance UID, as some de-identifiers leave them, are distinguished by
    their positions, and flagged `shared_uids`.

    Voxels outside the scanner's field (Pixel Padding Value, such as -2000 on GE scanners)
    are kept as stored, and flagged `out_of_field` where there are any: nothing was measured
    there that could replace them, and windowing a CT clips them with the air.

    Parameters
    ----------
    files : sequence of Path
        Relative to the root, in any order.
    root : Path
        Raw root; no file may lie outside it.
    policy : SeriesPolicy
        What to do with a series that is not an evenly spaced stack.
    drawn_on : callable, optional
        Says on which slices something was drawn. Of a series of several stacks, such as two phases,
        that one is read which holds these (`uls_data.dicom.phases`), and flagged `phase_chosen`.

    Raises
    ------
    CaseError
        `not_ct`, `localizer`, `multi_frame`, `too_few_slices`, `ambiguous_files` (of more
        than one series), `mixed_geometry`,
        `duplicate_positions`, `missing_slices`, `gantry_tilt`, `bad_affine`, `unreadable`,
        `truncated_file`, `unsupported_format`, `too_large`, `hu_out_of_range`,
        `path_leaves_root`, `changed_while_read` or `io_error`.
    """
    try:
        slices, scouts = _opened(root, _inside(root, files))
        _check_one_series(slices)
        shapes = [(one.form.columns, one.form.rows) for one in slices]
        planes = [plane_of(*pair) for pair in zip([s.header for s in slices], shapes, strict=True)]
        stack, left_out = stack_of(planes, [s.header for s in slices], policy, drawn_on)
        ordered = [slices[k] for k in stack.order]
        scale = _common_scale(ordered)
        _check_sizes(ordered)
        stored, hashes, padded = _fill(ordered, scale)
        kept = set(stack.order)
        hashes += [sha256_file(one.path) for k, one in enumerate(slices) if k not in kept]
        hashes += [sha256_file(root / scout) for scout in scouts]
    except OSError as error:
        raise CaseError(
            Reason.IO_ERROR,
            f"{_prefix(root, error.filename)}{error.strerror or type(error).__name__}",
        ) from error
    volume = Volume(
        stored=stored,
        stored_affine=stack.affine,
        slope=scale.slope,
        intercept=scale.intercept,
        sha256=hash_of(sorted(hashes)),
        flags=_flags(ordered, scale, stack, padded, bool(scouts), bool(left_out)),
    )
    named = [one.header.uid(Tag.SOP_INSTANCE_UID) for one in ordered]
    shared = frozenset(uid for uid, count in Counter(named).items() if uid and count > 1)
    if shared:
        volume = replace(volume, flags=(*volume.flags, Flag.SHARED_UIDS))
    uids = tuple("" if uid in shared else uid for uid in named)
    headers = tuple(one.header for one in slices)
    return Series(volume, uids, stack.positions_mm, shared, left_out, headers)


def series_size(files: Sequence[Path], root: Path) -> tuple[int, int]:
    """Voxels of a series and the bytes they take once decoded, from the header of one file.

    Raises
    ------
    CaseError, OSError
        As `read_series` does for what that header can show.
    """
    if not files:
        raise CaseError(Reason.TOO_FEW_SLICES, "expected at least 2 slices, found 0")
    for at, file in enumerate(_inside(root, files)):
        try:
            form = _open(root, file).form
            break
        except CaseError as error:
            if error.reason is not Reason.LOCALIZER or at + 1 == len(files):
                raise
    voxels = form.rows * form.columns * len(files)
    check_size(voxels, readable(files[0].as_posix()))
    return voxels, voxels * form.dtype.itemsize


def _inside(root: Path, files: Sequence[Path]) -> list[Path]:
    """Files by name, known to lie inside the root."""
    inside = Path(realpath(root))
    for file in files:
        if file.is_absolute() or not Path(realpath(root / file)).is_relative_to(inside):
            name = file.name if file.is_absolute() else file.as_posix()
            raise CaseError(
                Reason.PATH_LEAVES_ROOT,
                f"{readable(name)}: expected a path relative to the raw root, and inside it",
            )
    return sorted(files)


def _opened(root: Path, files: list[Path]) -> tuple[list[_Slice], list[Path]]:
    """Slices, and the scout views that lie among them."""
    slices, scouts, first = [], [], None
    for file in files:
        try:
            slices.append(_open(root, file))
        except CaseError as error:
            if error.reason is not Reason.LOCALIZER:
                raise
            scouts.append(file)
            first = first or error
    if first is not None and len(slices) < len(scouts):
        raise first
    return slices, scouts


def _check_one_series(slices: list[_Slice]) -> None:
    uids = sorted({one.header.uid(Tag.SERIES_INSTANCE_UID) for one in slices})
    if len(uids) > 1:
        raise CaseError(
            Reason.AMBIGUOUS_FILES,
            f"expected slices of one series, found {len(uids)}: {', '.join(uids[:3])}",
        )


def _prefix(root: Path, name: Any) -> str:
    """Return the file of an error of the system, relative to the root, for a message."""
    path = Path(name) if isinstance(name, str) else None
    if path is None or not path.is_relative_to(root):
        return ""
    return f"{readable(path.relative_to(root).as_posix())}: "


def _open(root: Path, file: Path) -> _Slice:
    """One slice by its header alone, known to be single-frame CT of a format that is read."""
    path, name = root / file, readable(file.as_posix())
    check_file(path)
    header, file_bytes = read_header(path, name, _WANTED)
    modality = modality_of(header)
    if modality != "CT":
        found = modality or "none that DICOM defines"
        raise CaseError(Reason.NOT_CT, f"{name}: expected modality CT, found {found}")
    if "LOCALIZER" in header.text(Tag.IMAGE_TYPE).upper().split("\\"):
        raise CaseError(Reason.LOCALIZER, f"{name}: a localizer (scout view), not a slice")
    if header.uid(Tag.SOP_CLASS_UID) in _ENHANCED:
        raise CaseError(
            Reason.MULTI_FRAME,
            f"{name}: Enhanced CT, which holds many slices in one file, is not read; convert it "
            "to single slices",
        )
    form = pixel_format(header)
    check_room(header, form, file_bytes)
    if file_bytes > form.frame_bytes + _MAXIMUM_BESIDE_BYTES:
        raise CaseError(
            Reason.TOO_LARGE,
            f"{name}: {file_bytes:,} bytes, of which a slice of {form.columns} x {form.rows} "
            f"pixels takes {form.frame_bytes:,}",
        )
    return _Slice(path, file_bytes, header, form, _scale_of(header))


def _scale_of(header: Header) -> tuple[float, float] | None:
    slope = header.numbers(Tag.RESCALE_SLOPE, 1)
    intercept = header.numbers(Tag.RESCALE_INTERCEPT, 1)
    if slope is None and intercept is None:
        return None
    scale = (slope or (1.0,))[0], (intercept or (0.0,))[0]
    if not np.isfinite(scale).all() or scale[0] == 0:
        raise CaseError(
            Reason.UNREADABLE, f"{header.name}: slope {scale[0]:g}, intercept {scale[1]:g}: no HU"
        )
    return scale


def _common_scale(slices: list[_Slice]) -> _Scale:
    """One scale and type for all slices where they share them, else HU for each."""
    bare = [one for one in slices if one.scale is None]
    if bare and len(bare) < len(slices):
        raise CaseError(
            Reason.MIXED_GEOMETRY,
            f"{len(bare)} of {len(slices)} slices have no rescale values, such as "
            f"{bare[0].header.name}",
        )
    scales = {one.scale or (1.0, 0.0) for one in slices}
    dtypes = {one.form.dtype for one in slices}
    if len(scales) == len(dtypes) == 1:
        return _Scale(dtypes.pop(), *scales.pop(), per_slice=False)
    ends = [
        end * slope + intercept
        for one in slices
        for slope, intercept in [one.scale or (1.0, 0.0)]
        for end in one.form.limits
    ]
    low, high = min(ends), max(ends)
    if low < _INT32.min or high > _INT32.max:
        raise CaseError(
            Reason.HU_OUT_OF_RANGE,
            f"{slices[0].header.name}: rescale values allow HU from {low:g} to {high:g}",
        )
    whole = all(value.is_integer() for scale in scales for value in scale)
    fits = _INT16.min <= low and high <= _INT16.max
    dtype = np.dtype((np.int16 if fits else np.int32) if whole else np.float32)
    return _Scale(dtype, 1.0, 0.0, per_slice=True)


def _check_sizes(slices: list[_Slice]) -> None:
    """Refuse what the files cannot hold, before the volume is allocated."""
    form = slices[0].form
    check_size(form.rows * form.columns * len(slices), slices[0].header.name)
    file_bytes = sum(one.file_bytes for one in slices)
    decoded = sum(one.form.frame_bytes for one in slices)
    if decoded > MAXIMUM_RATIO * file_bytes:
        raise CaseError(
            Reason.TRUNCATED_FILE,
            f"{slices[0].header.name}: headers claim {decoded:,} bytes of voxels, which "
            f"{file_bytes:,} bytes of files cannot hold",
        )


def _fill(slices: list[_Slice], scale: _Scale) -> tuple[NDArray[Any], list[str], bool]:
    """Array of all slices, the hash of each file, and whether padding values occur."""
    form = slices[0].form
    planes = np.empty((len(slices), form.rows, form.columns), dtype=scale.dtype)
    hashes, padded = [], False
    for one, plane in zip(slices, planes, strict=True):
        data = one.path.read_bytes()
        hashes.append(sha256_bytes(data))
        data = inflated(data, one.header.name)
        if (
            len(data) != one.file_bytes
            or parse_header(data, one.header.name, _WANTED) != one.header
        ):
            raise CaseError(
                Reason.CHANGED_WHILE_READ,
                f"{one.header.name}: changed while it was read; run the same command again",
            )
        values = np.empty(plane.shape, one.form.dtype) if scale.per_slice else plane
        read_pixels(data, one.header, one.form, values)
        limits = None if padded else padding_limits(one.header, one.form)
        if limits is not None:
            padded = bool(((values >= limits[0]) & (values <= limits[1])).any())
        if scale.per_slice:
            slope, intercept = one.scale or (1.0, 0.0)
            plane[...] = values.astype(np.float64) * slope + intercept
    # Stored as (slice, row, column) in C order: the transpose has x fastest.
    return planes.T, hashes, padded


def _flags(
    slices: list[_Slice],
    scale: _Scale,
    stack: Stack,
    padded: bool,
    scouts: bool,
    others: bool,
) -> tuple[Flag, ...]:
    flags = {
        Flag.TRAILING_BYTES: any(has_padding_behind(one.header, one.form) for one in slices),
        Flag.PER_SLICE_RESCALE: scale.per_slice,
        Flag.SCOUT_LEFT_OUT: scouts,
        Flag.SLICES_REPAIRED: stack.dropped,
        Flag.PHASE_CHOSEN: others,
        Flag.LONE_SLICE: len(slices) == 1,
        Flag.OUT_OF_FIELD: padded,
        Flag.BURNED_IN_ANNOTATION: any(
            one.header.says_yes(Tag.BURNED_IN_ANNOTATION) for one in slices
        ),
    }
    return tuple(flag for flag, raised in flags.items() if raised)
