"""Readings of several readers, grouped into nodules, and the voxels they agree on.

LIDC does not say which outlines of two readers are the same nodule. The rule here: two
readings belong to one nodule if the masks that they fill have a voxel in common, and so on
from reading to reading. So two readings of one reader may meet in a nodule that another drew
in one piece, and readings that only touch, or are beside each other, stay apart. Nothing is
tuned: no distance, no share of overlap. On LIDC-IDRI it gives, within two nodules, the
counts of pylidc's rule, which joins outlines by their least distance (`tests/test_real_lidc.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.lesions.votes import Agreement, Voxels, cluster, consensus
from uls_data.outcome import Flag, Reason
from uls_data.sources.lidc.outlines import Outline, Ring, fill_outlines
from uls_data.sources.lidc.xml import Contour, Readings

# In the boxes round all outlines of a series; the most in LIDC-IDRI is 201,204.
MAXIMUM_PIXELS = 1 << 23


class Span(StrEnum):
    """Which slices of a nodule count.

    ALL: every slice that the consensus gives. LONGEST: those from the first to the last
    of the one reading that spans most slices, the first such in document order. ULS23's
    labels are made so: 71 of them lack an end that only other readers drew.
    """

    ALL = "all"
    LONGEST = "longest"


@dataclass(frozen=True)
class Reading:
    """One nodule as one reader outlined it.

    Attributes
    ----------
    reader : int
        1-based; a reader may have several readings of one nodule.
    reading_id : str
        What the source calls it.
    voxels : ndarray, shape (n, 3), int32
        Column, row and slice, zero-based stored indices, each once, in C order.
    """

    reader: int
    reading_id: str
    voxels: Voxels


@dataclass(frozen=True)
class ReadNodule:
    """A nodule that one or more readers outlined.

    Attributes
    ----------
    readings : tuple of Reading
        In document order.
    voxels : ndarray, shape (n, 3), int32
        Consensus, as `Reading.voxels`; may be empty or in several pieces.
    layers : tuple of (str, ndarray)
        `reader-1`, ...: all voxels of each reader, by reader.
    agreement : int
        Readers who outlined it.
    """

    readings: tuple[Reading, ...]
    voxels: Voxels
    layers: tuple[tuple[str, Voxels], ...]
    agreement: int


@dataclass(frozen=True)
class FilledReadings:
    """Outlines of all readers of a scan, filled.

    Attributes
    ----------
    readings : tuple of Reading
        In document order.
    empty : tuple of Reading
        Those that enclose no voxel: points and lines.
    flags : tuple of Flag
        `contour_off_slice`, `out_of_field`.
    """

    readings: tuple[Reading, ...]
    empty: tuple[Reading, ...]
    flags: tuple[Flag, ...]


def fill_readings(
    readings: Readings, slice_of: Callable[[Contour], int | None], shape: Triple, ring: Ring
) -> FilledReadings:
    """Fill the outlines of a file on the grid of its scan.

    Parameters
    ----------
    slice_of : function
        Stored slice index of an outline; None where the scan has no such slice.
    shape : tuple of 3 int
        Columns, rows and slices, as stored.

    Raises
    ------
    CaseError
        `too_large`: the outlines go round more than nodules can.
    """
    _check_size(readings, shape)
    filled, empty = list[Reading](), list[Reading]()
    flags: set[Flag] = set()
    for reader in readings.readers:
        for nodule in reader.nodules:
            placed = [(slice_of(contour), contour) for contour in nodule.contours]
            outlines = [
                Outline(index, contour.points, contour.inclusion)
                for index, contour in placed
                if index is not None
            ]
            inside = fill_outlines(outlines, ring, shape)
            if len(outlines) < len(placed):
                flags.add(Flag.CONTOUR_OFF_SLICE)
            if inside.out_of_field:
                flags.add(Flag.OUT_OF_FIELD)
            reading = Reading(reader.number, nodule.nodule_id, inside.voxels)
            (filled if len(inside.voxels) else empty).append(reading)
    return FilledReadings(tuple(filled), tuple(empty), tuple(sorted(flags)))


def read_nodules(
    readings: Sequence[Reading],
    agreement: Agreement | int = Agreement.ANY,
    span: Span = Span.ALL,
) -> list[ReadNodule]:
    """Group readings into nodules, and find what their readers agree on.

    Memory goes by the number of voxels in the readings.

    Parameters
    ----------
    agreement : Agreement or int
        A number: how many readers must have marked a voxel, however many there are; a nodule
        of fewer readers has no voxel then.

    Returns
    -------
    list of ReadNodule
        By their first reading.
    """
    return [
        _nodule([readings[number] for number in group], agreement, span)
        for group in cluster([reading.voxels for reading in readings])
    ]


def _check_size(readings: Readings, shape: Triple) -> None:
    pixels = 0
    for reader in readings.readers:
        for contour in (it for nodule in reader.nodules for it in nodule.contours):
            low = np.clip(contour.points.min(axis=0), 0, shape[:2])
            high = np.clip(contour.points.max(axis=0) + 1, 0, shape[:2])
            pixels += int((high - low).prod())
        if pixels > MAXIMUM_PIXELS:
            raise CaseError(
                Reason.TOO_LARGE,
                f"series {readings.series_instance_uid}: boxes around its outlines hold more than "
                f"{MAXIMUM_PIXELS:,} pixels, as no reading of nodules does",
            )


def _nodule(readings: list[Reading], agreement: Agreement | int, span: Span) -> ReadNodule:
    by_reader: dict[int, Voxels] = {}
    for reader in sorted({reading.reader for reading in readings}):
        own = [reading.voxels for reading in readings if reading.reader == reader]
        by_reader[reader] = np.unique(np.concatenate(own), axis=0)
    voxels = consensus(list(by_reader.values()), agreement)
    if span is Span.LONGEST:
        ends = [(it.voxels[:, 2].min(), it.voxels[:, 2].max()) for it in readings if len(it.voxels)]
        first, last = max(ends, key=lambda end: end[1] - end[0], default=(0, -1))
        voxels = voxels[(voxels[:, 2] >= first) & (voxels[:, 2] <= last)]
    layers = tuple((f"reader-{reader}", own) for reader, own in by_reader.items())
    return ReadNodule(tuple(readings), voxels, layers, len(layers))
