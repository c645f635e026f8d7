"""Arrays of one scan in a store: its VOIs put together, and the masks of its lesions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.geometry import Triple, bounding_box
from uls_data.io import sha256_bytes, write_bytes
from uls_data.manifest.by_axis import placed_box, scan_box
from uls_data.manifest.choice import voi_of
from uls_data.manifest.example import Example
from uls_data.manifest.opened import voxels_of
from uls_data.manifest.row import Row
from uls_data.manifest.scan_view import is_placed
from uls_data.outcome import Reason
from uls_data.voi import VOI_SHAPE
from uls_data.volumes.b2nd import LARGEST_VOXELS, SUFFIX, Frame, packed

_VOI_VOXELS = prod(VOI_SHAPE)


@dataclass(frozen=True)
class ScanTask:
    """One scan to store.

    Attributes
    ----------
    name : str
        `SOURCE/VOI` of its first row.
    to : Path
        Folder of the store.
    examples : list of Example
        Rows with an image or a mask, in the order of their names.
    """

    name: str
    to: Path
    examples: list[Example]


@dataclass(frozen=True)
class Place:
    """Files of the image and the mask of a row, and why one of them is not there."""

    image: str | None = None
    label: str | None = None
    reason: str | None = None
    detail: str | None = None


@dataclass
class Stored:
    """What became of a scan.

    Attributes
    ----------
    files : dict of str to (str, int)
        SHA-256 and size of each file, by its path in the store.
    places : list of Place
        Of the task's rows, in their order.
    """

    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a row could not be read."""
        return any(place.reason is not None for place in self.places)


def lost(task: ScanTask, why: str) -> Stored:
    """Return the result of a scan whose worker crashed every time."""
    return Stored(places=[Place(reason=Reason.WORKER_LOST.value, detail=why)] * len(task.examples))


def need_bytes(task: ScanTask) -> int:
    """Memory that a scan takes at most: its array, packed and as bytes, and a VOI as it is read."""
    voxels = _volume(*_extent([example.row for example in task.examples]))
    return 6 * min(voxels, LARGEST_VOXELS) + 12 * _VOI_VOXELS


def image_file(row: Row) -> str:
    """Path in the store of an array that is named after this row's VOI."""
    return f"{row['source']}/scans/{row['voi_id']}{SUFFIX}"


def mask_file(row: Row) -> str:
    """Path in the store of a mask that is named after this row's VOI."""
    return f"{row['source']}/masks/{row['layer']}/{row['voi_id']}{SUFFIX}"


def store_scan(task: ScanTask) -> Stored:
    """Read all VOIs of a scan, and write its arrays."""
    stored = Stored()
    vois: dict[tuple[object, ...], Example] = {}
    masks: dict[tuple[object, ...], list[Example]] = defaultdict(list)
    for example in task.examples:
        row = example.row
        if row["image_path"] is not None:
            vois.setdefault(voi_of(row), example)
        if row["label_path"] is not None:
            masks[row["lesion_index"], row["layer"]].append(example)
    places: dict[int, str | CaseError] = {}
    images = _put(task.to, list(vois.values()), stored, mask=False)
    by_voi = dict(zip(vois, images, strict=True))
    for clicks in masks.values():
        found = _put(task.to, clicks, stored, mask=True)
        places |= {id(click): one for click, one in zip(clicks, found, strict=True)}
    for example in task.examples:
        parts = by_voi.get(voi_of(example.row)), places.get(id(example))
        image, label = parts if example.row["image_path"] is not None else (None, parts[1])
        bad = next((part for part in (image, label) if isinstance(part, CaseError)), None)
        stored.places.append(
            Place(
                image=image if isinstance(image, str) else None,
                label=label if isinstance(label, str) else None,
                reason=None if bad is None else bad.reason.value,
                detail=None if bad is None else bad.detail,
            )
        )
    return stored


def _put(
    to: Path, examples: Sequence[Example], stored: Stored, *, mask: bool
) -> list[str | CaseError]:
    """Write what these VOIs hold of a scan; returns the file of each, or why there is none."""
    rows = [example.row for example in examples]
    low, high = _extent(rows)
    union = _Union(low, high) if 0 < _volume(low, high) <= LARGEST_VOXELS else None
    name_of = mask_file if mask else image_file
    joint: str | None = None
    found: list[str | CaseError] = []
    for example in examples:
        row, name = example.row, name_of(example.row)
        try:
            voxels = voxels_of(example, "label_path" if mask else "image_path")
        except CaseError as error:
            found.append(error)
            continue
        if mask:
            voxels = np.asfortranarray(voxels != 0).view(np.uint8)
        if union is not None and union.take(voxels, row, 0 if mask else row["pad_value_hu"]):
            joint = joint or name
            found.append(joint)
        else:
            _write(to, name, voxels, "voi", (0, 0, 0), mask, stored)
            found.append(name)
    if union is not None and union.voxels is not None and joint is not None:
        voxels, union = union.voxels, None  # what was seen is not needed to pack them
        _write(to, joint, voxels, "scan", low, mask, stored)
    return found


def _write(
    to: Path,
    name: str,
    voxels: NDArray[np.integer],
    frame: Frame,
    origin: Triple,
    mask: bool,
    stored: Stored,
) -> None:
    if mask:
        part, start = bounding_box(voxels.view(bool))
        # An empty mask is stored as one voxel of 0.
        voxels = (part if part.size else np.zeros((1, 1, 1), bool)).view(np.uint8)
        x, y, z = (a + b for a, b in zip(origin, start, strict=True))
        origin = (x, y, z)
    data = packed(voxels, frame, origin)
    write_bytes(to / name, data)
    stored.files[name] = sha256_bytes(data), len(data)


class _Union:
    """One array of what VOIs hold of a scan, as long as they agree where they overlap.

    Parameters
    ----------
    low, high : tuple of 3 int
        Box of the scan, in its voxels.
    """

    def __init__(self, low: Triple, high: Triple) -> None:
        self._low = low
        self._shape = tuple(b - a for a, b in zip(low, high, strict=True))
        self.voxels: NDArray[np.integer] | None = None
        self._seen: NDArray[np.bool_]

    def take(self, voxels: NDArray[np.integer], row: Row, fill: int | None) -> bool:
        """Take a VOI in; False where it does not fit, and then nothing has changed."""
        if not is_placed(row) or voxels.dtype.itemsize > 2:
            return False
        inside = scan_box(row, VOI_SHAPE)
        real = voxels[inside]
        if real.size < voxels.size:
            # Padding is not stored: it comes back only if it is what the row says.
            padding = np.ones(VOI_SHAPE, bool, order="F")
            padding[inside] = False
            if (voxels[padding] != fill).any():
                return False
        if self.voxels is None:
            # Pages that are never written to take no memory.
            self.voxels = np.zeros(self._shape, voxels.dtype, order="F")
            self._seen = np.zeros(self._shape, bool, order="F")
        if voxels.dtype != self.voxels.dtype:
            return False
        box = tuple(
            slice(part.start - start, part.stop - start)
            for part, start in zip(placed_box(row, VOI_SHAPE), self._low, strict=True)
        )
        held, seen = self.voxels[box], self._seen[box]
        if (seen & (held != real)).any():
            return False
        held[...] = real
        seen[...] = True
        return True


def _extent(rows: Sequence[Row]) -> tuple[Triple, Triple]:
    """Box of a scan, in its voxels, that VOIs of known place hold; empty where there is none."""
    boxes = [placed_box(row, VOI_SHAPE) for row in rows if is_placed(row)]
    if not boxes:
        return (0, 0, 0), (0, 0, 0)
    low = tuple(min(box[axis].start for box in boxes) for axis in range(3))
    high = tuple(max(box[axis].stop for box in boxes) for axis in range(3))
    return low, high


def _volume(low: Triple, high: Triple) -> int:
    return prod(b - a for a, b in zip(low, high, strict=True))
