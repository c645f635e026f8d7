"""DICOM SEG and SR: masks back on the series that their VOIs were cut from.

TO/<source>/<SeriesInstanceUID>.seg.dcm   a segment a lesion
TO/<source>/<SeriesInstanceUID>.sr.dcm    their axes and volumes (TID 1500)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from uls_data import geometry
from uls_data._version import __version__
from uls_data.dicom.inventory import SeriesFiles, find_series
from uls_data.dicom.objects import GRID_TOLERANCE_VOX, Region
from uls_data.dicom.phases import DrawnOn, NamedSlices
from uls_data.dicom.referred import kind_of, slices_named
from uls_data.dicom.scan_headers import ScanHeaders, scan_headers
from uls_data.dicom.seg_writing import Segment, check_highdicom, write_seg
from uls_data.errors import CaseError, ManifestError
from uls_data.export.common import best_of, failure
from uls_data.geometry import Triple
from uls_data.ids import hash_of
from uls_data.io import write_bytes, writing_to
from uls_data.manifest.by_axis import origin_of
from uls_data.manifest.choice import ANNOTATED, CORRECTED, Choice, is_of, lesion_of, voi_of
from uls_data.manifest.example import Example, read_examples
from uls_data.manifest.opened import voxels_of
from uls_data.manifest.row import Row
from uls_data.outcome import Flag, Reason, Supervision
from uls_data.voi import box_at
from uls_data.volumes.raw_root import RawRoot, check_inside

_UNFIT = re.compile(r"[^\x20-\x5b\x5d-\x7e]")
_LONGEST = 64


@dataclass(frozen=True)
class DicomSegExport:
    """What was written.

    Attributes
    ----------
    path : Path
    series, lesions : int
        SEG objects (each with its SR), and segments in them.
    failed : list of dict
        Lesions that are in none: `voi_id`, `reason`, `detail`.
    """

    path: Path
    series: int
    lesions: int
    failed: list[dict[str, Any]] = field(default_factory=list)


def export_dicom_seg(
    manifest: str | Path | Sequence[str | Path],
    to: str | Path,
    raw: str | Path,
    *,
    layers: Collection[str] = (),
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> DicomSegExport:
    """Write the masks of DICOM series as DICOM SEG, and their sizes as SR.

    A lesion is one segment, of the click whose VOI holds most of it. Voxels are placed as
    whole numbers; nothing is resampled.

    Parameters
    ----------
    manifest : path or sequence of paths
        Of builds from DICOM series.
    to : path
        Folder.
    raw : path
        Folder in which the series lie, in whatever folders and under whatever names.
    layers : collection of str
        Of the masks; default: the best of each VOI.

    Raises
    ------
    ManifestError, SourceError
        No mask, several masks of a VOI to choose from, highdicom is not installed, the raw
        folder cannot be read, or the other one not written.
    """
    check_highdicom()
    lesions = _lesions(manifest, layers)
    if started is not None:
        started(len(lesions))
    # CT alone: an object may be in the series of its images.
    series = {
        one.series_instance_uid: one
        for one in find_series(RawRoot(Path(raw)))
        if one.series_instance_uid and one.modality == "CT"
    }
    written = count = 0
    failed: list[dict[str, Any]] = []
    with writing_to(to):
        for (source, uid), some in groupby(lesions, key=_series_of):
            group = list(some)
            kept, bad = _write_series(Path(to) / source, Path(raw), series.get(uid), group)
            failed += bad
            written += bool(kept)
            count += kept
            if progress is not None:
                progress(len(group))
    return DicomSegExport(Path(to), written, count, failed)


def _lesions(manifest: str | Path | Sequence[str | Path], layers: Collection[str]) -> list[Example]:
    """One mask a lesion, by series."""
    rows = list(read_examples(manifest))
    choice = Choice(example.row for example in rows)
    vois: dict[tuple[Any, ...], list[Example]] = {}
    for example in rows:
        row = example.row
        if choice.counts(row) and row["label_path"] and (not layers or is_of(row, layers)):
            vois.setdefault(voi_of(row), []).append(example)
    chosen: dict[tuple[Any, ...], list[Example]] = {}
    for group in vois.values():
        example = best_of(group)
        chosen.setdefault(lesion_of(example.row), []).append(example)
    if not chosen:
        raise ManifestError("no row with status ok and a mask: nothing to export")
    whole = [min(group, key=_cut) for group in chosen.values()]
    return sorted(whole, key=lambda example: (*_series_of(example), *example.identity))


def _cut(example: Example) -> tuple[float, int]:
    """Share of the lesion outside the VOI, then which click it is."""
    return example.row["fraction_outside_voi"] or 0.0, example.identity[3]


def _series_of(example: Example) -> tuple[str, str]:
    return example.row["source"], example.row["series_instance_uid"] or ""


def _write_series(
    folder: Path, raw: Path, found: SeriesFiles | None, lesions: Sequence[Example]
) -> tuple[int, list[dict[str, Any]]]:
    """How many segments the SEG of a series has, and the lesions that are not in it."""
    uid = lesions[0].row["series_instance_uid"]
    failed: list[dict[str, Any]] = []
    segments: list[Segment] = []
    rows: list[Row] = []
    try:
        if not uid:
            raise CaseError(Reason.UNSUPPORTED_FORMAT, "not cut from a DICOM series")
        if found is None:
            raise CaseError(Reason.IMAGE_MISSING, f"no CT series {uid} below --raw")
        scan = scan_headers(found.files, raw, _drawn_on(lesions, raw))
    except CaseError as error:
        return 0, [failure(example, error) for example in lesions]
    for example in lesions:
        try:
            segments.append(_segment(example, scan, len(segments) + 1))
            rows.append(example.row)
        except CaseError as error:
            failed.append(failure(example, error))
    if not segments:
        return 0, failed
    told = [[one.tracking_id, one.label, one.made_by, one.method] for one in segments]
    masks = [
        [row["label_voxels_sha256"], *origin_of(row), row["long_axis_mm"], row["short_axis_mm"]]
        for row in rows
    ]
    identity = hash_of(map(str, (__version__, scan.volume.sha256, _patient(rows[0]), told, masks)))
    seg, report = write_seg(scan, segments, _patient(rows[0]), identity)
    write_bytes(folder / f"{uid}.seg.dcm", seg)
    write_bytes(folder / f"{uid}.sr.dcm", report)
    return len(segments), failed


def _drawn_on(lesions: Sequence[Example], raw: Path) -> DrawnOn | None:
    """Slices that the lesions were drawn on, where the build chose a stack by them."""
    objects = {
        row["label_source"]
        for row in (example.row for example in lesions)
        if Flag.PHASE_CHOSEN in (row["qc_flags"] or ()) and row["label_source"]
    }
    if not objects:
        return None

    def named() -> NamedSlices:
        found = NamedSlices()
        for one in sorted(objects):
            check_inside(Path(one), raw)
            found |= slices_named(raw / one, kind_of(raw / one))
        return found

    return named


def _segment(example: Example, scan: ScanHeaders, number: int) -> Segment:
    row = example.row
    source, case, lesion, _, _ = example.identity
    kind = row["lesion_type"]
    made_by, method = _made_by(row)
    return Segment(
        region=_region(example, scan),
        label=_fit(f"Lesion {lesion}" + (f" ({kind.replace('_', ' ')})" if kind else "")),
        tracking_id=f"{source}/{row['lesion_track_id'] or f'{case}/{lesion}'}",
        made_by=made_by,
        method=method,
        long_axis_mm=row["long_axis_mm"],
        short_axis_mm=row["short_axis_mm"],
        volume_mm3=row["volume_mm3"],
    )


def _region(example: Example, scan: ScanHeaders) -> Region:
    """Voxels of a mask in the stored order of its scan."""
    volume, row = scan.volume, example.row
    if row["image_source_sha256"] not in (None, volume.sha256):
        raise CaseError(
            Reason.ANNOTATION_MISMATCH,
            f"series {row['series_instance_uid']} below --raw holds other files than those that "
            "the VOI was cut from",
        )
    label = voxels_of(example, "label_path") != 0
    box = box_at(_origin(row, volume.affine), volume.ras.shape)
    stored = np.zeros(volume.stored.shape, bool)
    volume.orientation.apply(stored)[box.covered] = label[box.inside]
    count = int(np.count_nonzero(stored))
    if count == 0 or count != int(np.count_nonzero(label)):
        raise CaseError(
            Reason.ANNOTATION_MISMATCH if count else Reason.EMPTY_MASK,
            f"{example.label.name}: {int(np.count_nonzero(label))} voxels, of which {count} lie in "
            "the scan",
        )
    box_mask, start = geometry.bounding_box(stored)
    return Region(box_mask.copy(), start)


def _origin(row: Row, scan: geometry.Affine) -> Triple:
    """Scan index of the VOI's first voxel, by the row, known to agree with its affine."""
    x, y, z = origin_of(row)
    if row["affine"] is None or x is None or y is None or z is None:
        raise CaseError(Reason.REPLAY_POSITION, "its row does not say where in the scan it lies")
    voi = np.reshape(np.asarray(row["affine"], np.float64), (4, 4))
    corners = np.array([[0, 0, 0, 1], [255, 255, 127, 1]], np.float64)
    if row["profile"] == "published":
        # Published affines put every VOI at 0 mm: only the voxels' directions can be compared.
        voi[:3, 3] = geometry.shifted(scan, (x, y, z))[:3, 3]
    there = np.linalg.solve(scan, voi @ corners.T)[:3].T
    off = float(np.abs(there - (corners[:, :3] + (x, y, z))).max())
    if not off <= GRID_TOLERANCE_VOX:
        raise CaseError(
            Reason.AFFINE_MISMATCH,
            f"the VOI's affine puts it {off:.3f} voxels from where its origin ({x}, {y}, {z}) does",
        )
    return x, y, z


def _made_by(row: Row) -> tuple[Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"], str]:
    layer = row["parent_layer"] if row["layer"] == CORRECTED else row["layer"]
    if layer == ANNOTATED:
        return "MANUAL", ""
    lines = row["supervision"] == Supervision.WEAK_2D or row["layer"] == CORRECTED
    return ("SEMIAUTOMATIC" if lines else "AUTOMATIC"), _fit(str(layer))


def _patient(row: Row) -> str:
    """PatientID: the source's public one, or the case."""
    return _fit(row["patient_id"] or row["case_id"])


def _fit(text: str) -> str:
    """As an LO element can hold it."""
    return _UNFIT.sub("_", text)[:_LONGEST].strip()
