"""A VOI with its mask, opened: the way from a manifest's row to voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError
from uls_data.manifest.by_axis import padding_by_axis, scan_box
from uls_data.manifest.choice import COLUMNS, Choice, best, is_of, lesion_of, voi_of
from uls_data.manifest.example import Example, read_examples, with_images
from uls_data.manifest.parquet import read_table
from uls_data.manifest.row import Row
from uls_data.manifest.scan_view import SUFFIX, Box, stored_image, stored_mask, stored_part
from uls_data.outcome import Reason
from uls_data.voi import VOI_SHAPE, hounsfield
from uls_data.volumes import read_volume

_WHOLE: Box = (slice(0, VOI_SHAPE[0]), slice(0, VOI_SHAPE[1]), slice(0, VOI_SHAPE[2]))


@dataclass(frozen=True)
class Voi:
    """One VOI with one mask. Arrays are in RAS, shape (256, 256, 128), [x, y, z].

    Attributes
    ----------
    image : ndarray of int
        HU; padding holds the row's `pad_value_hu`.
    mask : ndarray of bool
        The lesion.
    valid : ndarray of bool
        Voxels of the scan, no padding.
    affine : ndarray, shape (4, 4), float64
        From voxel index to mm.
    row : dict
        Row of the manifest.
    """

    image: NDArray[np.integer]
    mask: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    affine: NDArray[np.float64]
    row: Row


def open_voi(
    row_or_voi_id: str | Mapping[str, Any] | Any,
    manifest: str | Path | Sequence[str | Path],
    *,
    layer: str | None = None,
) -> Voi:
    """Open one VOI of manifests.

    Parameters
    ----------
    row_or_voi_id : str, dict or pandas.Series
        A `voi_id`; then of several masks the preferred one that counts is taken, as for training
        (`uls_data.manifest.choice`). Or a row, whose own mask is opened whatever corrections say;
        of it `voi_id` and `layer` are looked at.
    manifest : path or sequence of paths
        Manifests, or OUT folders of builds: with the row, its image and all corrections.
    layer : str, optional
        Mask to take.

    Raises
    ------
    ManifestError
        No manifest, no such VOI, or several masks to choose from.
    CaseError
        Its files are missing, unreadable, or no VOI.
    """
    if isinstance(row_or_voi_id, str):
        return opened(_chosen(row_or_voi_id, manifest, layer))
    if layer is not None:
        raise ManifestError("layer: a row names its own")
    try:
        given = dict(row_or_voi_id)
    except (TypeError, ValueError) as error:
        what = type(row_or_voi_id).__name__
        raise ManifestError(
            f"expected a voi_id, or a row as a dict or a pandas.Series, found {what}"
        ) from error
    missing = {"voi_id", "layer"} - given.keys()
    if missing:
        raise ManifestError(f"the row has no {', '.join(sorted(missing))}")
    # What is null in a row of pandas is None, NaN or NA.
    voi_id, layer, source = (
        value if isinstance(value := given.get(name), str) else None
        for name in ("voi_id", "layer", "source")
    )
    if voi_id is None:
        status = given.get("status")
        said = f"; it is {status} ({given.get('reason')})" if isinstance(status, str) else ""
        raise ManifestError(f"expected one row, with a voi_id{said}")
    for example in _of_voi(voi_id, manifest):
        if example.row["layer"] == layer and source in (None, example.row["source"]):
            return opened(example)
    raise ManifestError(f"{voi_id} has no layer {layer} in {manifest}")


def _chosen(voi_id: str, manifest: str | Path | Sequence[str | Path], layer: str | None) -> Example:
    found = _of_voi(voi_id, manifest)
    lesions = {lesion_of(example.row) for example in found}
    # A correction may name another VOI of the lesion.
    of_cases = pc.field("case_id").isin([ids[1] for ids in lesions])
    others = read_table(manifest, COLUMNS, of_cases).to_pylist()
    choice = Choice(row for row in others if lesion_of(row) in lesions)
    counting = [e for e in found if choice.counts(e.row)]
    if not counting:
        why = choice.why_not(found[0].row) or f"its row is {found[0].row['status']}"
        raise ManifestError(f"{voi_id} has no mask that counts: {why}")
    if layer is not None:
        counting = [e for e in counting if is_of(e.row, (layer,))]
        if not counting:
            raise ManifestError(f"{voi_id} has no layer {layer}")
    if len({voi_of(e.row) for e in counting}) > 1:
        sources = ", ".join(sorted({str(e.row["source"]) for e in counting}))
        raise ManifestError(f"{voi_id}: several VOIs of that name, in {sources}; give the row")
    row = best([e.row for e in counting])
    return next(e for e in counting if e.row is row)


def _of_voi(voi_id: str, manifest: str | Path | Sequence[str | Path]) -> list[Example]:
    found = list(with_images(list(read_examples(manifest, filters=pc.field("voi_id") == voi_id))))
    if not found:
        raise ManifestError(f"no VOI {voi_id} in {manifest}")
    return found


def opened(example: Example) -> Voi:
    """Read image and mask of a row.

    Raises
    ------
    CaseError
        A file is missing, unreadable, or no VOI.
    """
    image = voxels_of(example, "image_path")
    mask = voxels_of(example, "label_path") != 0
    row = example.row
    affine = np.eye(4) if row["affine"] is None else np.array(row["affine"], float).reshape(4, 4)
    return Voi(image, mask, validity(image, row), affine, row)


def voxels_of(
    example: Example, column: Literal["image_path", "label_path"], box: Box = _WHOLE
) -> NDArray[np.integer]:
    """HU or label of a row, RAS, [x, y, z]; of a box of it where one is given.

    A NIfTI file is read whole, whatever the box; of a store only the blocks that it touches.

    Parameters
    ----------
    box : tuple of 3 slice
        Part of the VOI, x, y, z, with start and stop.

    Raises
    ------
    CaseError
        The file is missing, unreadable, or no VOI.
    """
    path, root = _file_of(example, column)
    if path.suffix == SUFFIX:
        stored = stored_image if column == "image_path" else stored_mask
        return stored(path, example.row, box)
    volume = read_volume(path, root)
    if volume.ras.shape != VOI_SHAPE:
        found = volume.ras.shape
        raise CaseError(
            Reason.VOI_SHAPE, f"{example.row[column]}: expected {VOI_SHAPE}, found {found}"
        )
    return hounsfield(volume.ras[box], volume.slope, volume.intercept)[0]


def mask_part(example: Example, box: Box = _WHOLE) -> tuple[NDArray[np.integer], Box]:
    """Label of a row in a box of its VOI, as far as its file holds it.

    Of a store that is the part about the lesion: the rest of the box is background.

    Returns
    -------
    ndarray, [x, y, z]
    tuple of 3 slice
        Which part of the box it is.

    Raises
    ------
    CaseError
        As `voxels_of`.
    """
    path, _ = _file_of(example, "label_path")
    if path.suffix == SUFFIX:
        return stored_part(path, example.row, box)
    x, y, z = (slice(0, part.stop - part.start) for part in box)
    return voxels_of(example, "label_path", box), (x, y, z)


def _file_of(example: Example, column: Literal["image_path", "label_path"]) -> tuple[Path, Path]:
    """File that a row names, which exists, and the folder that it must lie in."""
    named = example.row[column]
    reason = Reason.IMAGE_MISSING if column == "image_path" else Reason.MASK_MISSING
    if named is None:
        raise CaseError(reason, f"{example.row['voi_id']}: the row names no file")
    root = example.root
    if column == "image_path" and example.image_root is not None:
        root = example.image_root
    path = root / named
    # A path may lead up: `with_moved_paths`, of a manifest that lies elsewhere than its VOIs.
    if Path(named).is_absolute():
        raise CaseError(
            Reason.PATH_LEAVES_ROOT, f"{named}: expected a path relative to the folder of the VOIs"
        )
    if not path.is_file():
        raise CaseError(reason, f"{named}: no such file; build or unpack the VOIs first")
    return path, root


def validity(hu: NDArray[Any], row: Row, box: Box = _WHOLE) -> NDArray[np.bool_]:
    """Scan or padding, by the row's extents, else by its sentinel.

    Parameters
    ----------
    hu : ndarray, [x, y, z]
        What lies in the box.
    row : dict
    box : tuple of 3 slice
        Part of the VOI, x, y, z.
    """
    if all(None not in pair for pair in padding_by_axis(row)):
        inside = np.zeros(hu.shape, bool, order="F")
        inside[
            tuple(
                slice(max(0, scan.start - part.start), max(0, scan.stop - part.start))
                for scan, part in zip(scan_box(row, VOI_SHAPE), box, strict=True)
            )
        ] = True
        return inside
    if row.get("pad_value_hu") is not None:
        return np.asarray(hu != row["pad_value_hu"])
    return np.ones(hu.shape, bool)
