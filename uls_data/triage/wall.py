"""A wall of VOIs: a small picture of each, and what is said below it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from threading import BoundedSemaphore, Lock
from typing import Any

from uls_data.errors import ManifestError, UlsDataError
from uls_data.manifest.row import Column, Row
from uls_data.pictures.stored import stored_thumbnail
from uls_data.pictures.thumbnail import Planes, thumbnail_path
from uls_data.pictures.thumbnails import THUMBNAIL_COLUMNS, Subject, make_thumbnail
from uls_data.triage.shown import Lesions
from uls_data.triage.vois import Voi, decode, file_below, finite

MOST_TILES = 500
_TILE: tuple[Column, ...] = ("source", "voi_id", "layer", "lesion_type", "long_axis_mm")
_PICTURE: tuple[Column, ...] = (
    *("label_path", "image_path", "mask_voxels", "pad_value_hu", "affine"),
    *THUMBNAIL_COLUMNS,
)
# Rows are read so many at a time, in the order in which VOIs are shown: a row alone takes as long.
_BLOCK, _KEPT_BLOCKS = 1 << 10, 32
# Pictures that were drawn for a wall and are kept; one has some 10 kB.
_KEPT_BYTES = 64 << 20
# Decoded at once, so that verdicts do not wait for pictures.
_AT_ONCE = 2


class Wall:
    """Tiles of VOIs.

    The pictures are those that the build drew of the masks. Where there is none, as in an archive
    that another program wrote, or the mask was edited since, it is drawn when it is asked for.
    """

    def __init__(self, lesions: Lesions) -> None:
        self._lesions = lesions
        # By the number of the VOI and the hash of its mask, which an edit changes.
        self._drawn: OrderedDict[tuple[int, str | None], bytes] = OrderedDict()
        self._bytes = 0
        self._blocks: OrderedDict[int, dict[int, Row]] = OrderedDict()
        self._lock, self._reading = Lock(), Lock()
        self._drawing = BoundedSemaphore(_AT_ONCE)

    def tiles(self, numbers: Sequence[int], column: str | None = None) -> list[dict[str, Any]]:
        """Say what stands below the pictures: names, and the value that VOIs are sorted by.

        If the mask was edited, it is what is measured on the edited one.
        """
        sorted_by = {} if column is None else self._lesions.rows(numbers, [column])
        told = []
        for number in numbers:
            row = self._row(number)
            values: dict[str, Any] = {**row, **sorted_by.get(number, {})}
            # A patch that cannot be read is told where the VOI is looked at.
            with suppress(UlsDataError):
                if (held := self._lesions.held(number, row)) is not None:
                    values |= held.measured
            value = None if column is None else finite(values[column])
            told.append({name: values[name] for name in _TILE} | {"number": number, "value": value})
        return told

    def picture(self, number: int) -> bytes:
        """JPEG of `pictures.thumbnail.SIZE`: axial, coronal and sagittal plane with the outline.

        Raises
        ------
        ManifestError, ErrataError, CaseError
            The mask or its image cannot be read, or the manifest has changed in the meantime.
        """
        subject = self._lesions.subject(number)
        key = number, subject.sha256
        with self._lock:
            if key in self._drawn:
                self._drawn.move_to_end(key)
                return self._drawn[key]
        row = self._row(number)
        edited = subject != self._lesions.built(number)
        with suppress(ManifestError, OSError):
            path = file_below(self._lesions.root, thumbnail_path(str(row["label_path"])))
            if not edited and (found := stored_thumbnail(path, row)) is not None:
                return found[0]
        with self._drawing:
            voi = decode(self._lesions.root, row, self._lesions.built(number))
            if (held := self._lesions.held(number, row)) is not None:
                voi = replace(voi, mask=held.mask, start=held.start)
            data = _drawn(voi)
        with self._lock:
            if key not in self._drawn:
                self._drawn[key] = data
                self._bytes += len(data)
            while self._bytes > _KEPT_BYTES:
                self._bytes -= len(self._drawn.popitem(last=False)[1])
        return data

    def _row(self, number: int) -> Row:
        at = number // _BLOCK
        with self._reading:
            if at not in self._blocks:
                last = min((at + 1) * _BLOCK, len(self._lesions))
                numbers = range(at * _BLOCK, last)
                self._blocks[at] = self._lesions.rows(numbers, (*_TILE, *_PICTURE))
            self._blocks.move_to_end(at)
            while len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
            return self._blocks[at][number]


def _drawn(voi: Voi) -> bytes:
    if not voi.mask.size or (voi.image is None and voi.row["image_path"] is not None):
        raise ManifestError(" ".join(voi.problems) or "the mask is empty")
    subject = Subject(voi.mask, voi.start, Planes.of(voi.whole()))
    return make_thumbnail(subject, voi.row, voi.image, voi.row["pad_value_hu"])[0]
