"""Take the positions of VOIs from a manifest instead of drawing clicks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError, ManifestError
from uls_data.factory.options import Position
from uls_data.geometry import Affine, Triple
from uls_data.io import sha256_voxels
from uls_data.manifest.by_axis import origin_of
from uls_data.manifest.row import Row
from uls_data.measure.lines import Lines
from uls_data.outcome import Flag, Reason
from uls_data.voi import VOI_SHAPE, box_at, cut_label

# Published headers are float32, and a position is a whole voxel.
_WHOLE_VOX = 0.05
_SAME_DIRECTION = 1e-3


def positions_of(manifest: Path, source: str) -> dict[str, tuple[Position, ...]]:
    """Positions that a manifest gives for one source, by case.

    Raises
    ------
    ManifestError
        The manifest has no usable row of this source.
    """
    # Workers use this module, too, and read no manifest.
    from uls_data.manifest.parquet import read_table

    columns = ["source", "case_id", "lesion_index", "sample_index", "voi_id", "affine", "status"]
    columns += ["label_voxels_sha256", *(f"voi_origin_{axis}_vox" for axis in "xyz")]
    rows: list[Row] = read_table(manifest, columns).to_pylist()
    found: dict[str, dict[str, Position]] = {}
    for row in rows:
        if row["source"] != source or row["status"] != "ok" or row["affine"] is None:
            continue
        name, lesion = _names(row, manifest)
        x, y, z = origin_of(row)
        position = Position(
            voi_id=name,
            lesion_index=lesion,
            sample_index=row["sample_index"] or 0,
            affine=tuple(row["affine"]),
            origin=None if x is None or y is None or z is None else (x, y, z),
            label_voxels_sha256=row["label_voxels_sha256"],
        )
        # A manifest of several layers names a VOI once for each; they share its position.
        found.setdefault(row["case_id"], {}).setdefault(name, position)
    if not found:
        sources = sorted({row["source"] for row in rows})
        raise ManifestError(
            f"--replay {manifest}: no position for source {source!r}; "
            f"it holds {', '.join(sources) or 'no rows'}"
        )
    return {case_id: tuple(by_name.values()) for case_id, by_name in found.items()}


def _names(row: Row, manifest: Path) -> tuple[str, int]:
    """Name of the VOI and number of its lesion.

    Names that are none are refused: they become file names below the output folder.
    """
    voi_id, lesion = row["voi_id"], row["lesion_index"]
    for column, name in (("case_id", row["case_id"]), ("voi_id", voi_id)):
        if not isinstance(name, str) or not name or "/" in name or "\0" in name:
            raise ManifestError(f"--replay {manifest}: {name!r} cannot be a {column}")
    if lesion is None:
        raise ManifestError(f"--replay {manifest}: {voi_id} has no lesion_index")
    return str(voi_id), lesion


def find_origin(
    position: Position,
    voxels: NDArray[np.int32],
    scan_affine: Affine,
    scan_shape: Triple,
    lines: tuple[Lines, int] | None = None,
) -> tuple[Triple, Affine, set[Flag]]:
    """Where in a scan a manifest's VOI lies.

    A position is an affine, and becomes a voxel offset only against a frame:
    the scan's own affine, or, where a conversion lost the scan's origin, one whose
    RAS index 0 is at 0 mm. Both are tried; the one whose label has the hash that the
    manifest states is taken, else the first whose centre is lesion. (On KiTS the
    scan's own affine fits all 332 published labels.)

    Parameters
    ----------
    voxels : ndarray, shape (n, 3), int32
        The lesion's mask, as RAS indices of the scan.
    lines : (Lines, z), optional
        Of a measured lesion: its mask is ours, so that the manifest's click may be beside it,
        but on its slice and not farther from it than half its long axis.

    Returns
    -------
    origin : tuple of 3 int
        Scan index of VOI index 0.
    frame : ndarray, 4x4
        Affine of the scan in that frame, so that written affines equal the manifest's.
    flags : set of Flag

    Raises
    ------
    CaseError
        `replay_position`: no frame fits.
    """
    affine = np.array(position.affine, dtype=np.float64).reshape(4, 4)
    finite = np.isfinite(affine).all()
    candidates = list(_candidates(position, affine, scan_affine)) if finite else []
    if not candidates:
        raise CaseError(
            Reason.REPLAY_POSITION,
            f"affine {geometry.describe(affine)} is not a whole voxel of the scan's "
            f"{geometry.describe(scan_affine)}; is this the scan that the manifest was made from?",
        )
    wanted = position.label_voxels_sha256
    fallback: tuple[Triple, Affine, set[Flag]] | None = None
    for origin, frame, flags in candidates:
        if not _meets(origin, scan_shape):
            continue
        box = box_at(origin, scan_shape)
        label = cut_label(voxels, box)
        if wanted is not None and sha256_voxels(label) == wanted:
            return origin, frame, flags
        differs = flags | ({Flag.REPLAY_LABEL_DIFFERS} if wanted is not None else set())
        if fallback is None and _is_on(box.click, voxels, lines):
            fallback = origin, frame, differs
    if fallback is None:
        raise CaseError(
            Reason.REPLAY_POSITION,
            f"its centre is not lesion {position.lesion_index} of this mask, at "
            f"{' or '.join(str(origin) for origin, *_ in candidates)}",
        )
    return fallback


def _is_on(click: Triple, voxels: NDArray[np.int32], lines: tuple[Lines, int] | None) -> bool:
    if lines is None:
        return bool((voxels == np.array(click)).all(axis=1).any())
    measured, slice_vox = lines
    low, high = measured.points.min(axis=0), measured.points.max(axis=0)
    reach = measured.long_vox / 2
    at = np.array(click[:2])
    return click[2] == slice_vox and bool(((at >= low - reach) & (at <= high + reach)).all())


def _candidates(
    position: Position, affine: Affine, scan_affine: Affine
) -> Iterable[tuple[Triple, Affine, set[Flag]]]:
    bare = geometry.without_origin(scan_affine)
    frames: list[tuple[Affine, set[Flag]]] = [(scan_affine, set())]
    if not np.allclose(bare, scan_affine, atol=geometry.AFFINE_TOLERANCE_MM):
        frames.append((bare, {Flag.ARRAY_ORIGIN}))
    for frame, flags in frames:
        if np.abs(frame[:3, :3] - affine[:3, :3]).max() > _SAME_DIRECTION:
            continue
        offset = geometry.offset_vox(frame, affine)
        whole = np.rint(offset)
        if np.abs(offset - whole).max() > _WHOLE_VOX or np.abs(whole).max() > 1 << 30:
            continue
        x, y, z = (int(v) for v in whole)
        if position.origin is None or position.origin == (x, y, z):
            yield (x, y, z), frame, flags


def _meets(origin: Triple, scan_shape: Triple) -> bool:
    return all(
        -size < start < scan
        for start, size, scan in zip(origin, VOI_SHAPE, scan_shape, strict=True)
    )
