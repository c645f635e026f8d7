"""Replace the mask of a VOI by an edited one: the corrections that editors write."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from uls_data.errata.chain import root_of
from uls_data.errata.mask import check_mask, read_patch, write_patch
from uls_data.errata.overlay import (
    Columns,
    Correction,
    ErrataError,
    Kind,
    Overlay,
    append,
    load_overlay,
    wrong_field,
)
from uls_data.geometry import Affine
from uls_data.io import sha256_voxels
from uls_data.manifest.by_axis import known_spacing
from uls_data.manifest.choice import best, counted, is_of, layer_of
from uls_data.manifest.parquet import manifest_files, read_table
from uls_data.manifest.row import Row
from uls_data.measure.label import LabelColumns, describe_label
from uls_data.outcome import Supervision

TITLE = "Edited masks"
FILE = Path("errata") / "edits.yaml"
Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Target:
    """A VOI whose mask can be edited.

    Attributes
    ----------
    root : Path
        OUT folder of its manifest.
    row : dict
        Of the layer that a correction names.
    shown : dict
        Of the mask that counts now, which earlier corrections may have made.
    """

    root: Path
    row: Row
    shown: Row

    @property
    def sha256(self) -> str:
        """`label_voxels_sha256` of the mask that counts now."""
        return str(self.shown["label_voxels_sha256"])

    @property
    def affine(self) -> Affine:
        """Affine of the VOI."""
        return np.array(self.row["affine"], float).reshape(4, 4)

    @property
    def spacing_mm(self) -> tuple[float, ...] | None:
        """Voxel size; None where the row does not tell it."""
        return known_spacing(self.row)

    @property
    def overlay(self) -> Path:
        """Overlay that edits go to unless another one is named."""
        return self.root / FILE

    def measured(self, mask: NDArray[np.bool_]) -> LabelColumns:
        """Measure a mask as a build does."""
        return describe_label(mask, self.spacing_mm)[0]


def find_target(
    voi_id: str, manifest: Paths, *, source: str | None = None, layer: str | None = None
) -> Target:
    """Find the mask of a VOI that counts.

    Parameters
    ----------
    voi_id : str
    manifest : path or sequence of paths
        Of builds or archives, with earlier corrections.
    source, layer : str, optional
        Where several VOIs have that name, or several masks count.

    Raises
    ------
    ManifestError
        Not a manifest, or nobody can say which mask counts.
    ErrataError
        No such VOI, none of its masks counts, or its row lacks what a correction names.
    """
    found: list[tuple[Path, Row]] = []
    for file in manifest_files(manifest):
        rows: list[Row] = read_table(file, None, pc.field("voi_id") == voi_id).to_pylist()
        found += [(file, row) for row in rows if source in (None, row["source"])]
    if not found:
        raise ErrataError(f"no VOI {voi_id} in {_named(manifest)}")
    if len(sources := sorted({row["source"] for _, row in found})) > 1:
        raise ErrataError(f"{voi_id}: of several sources ({', '.join(sources)}); say which")
    counting = [r for r in counted([row for _, row in found]) if layer is None or is_of(r, {layer})]
    if not counting:
        why = f"no mask of layer {layer} that counts" if layer else "no mask that counts"
        raise ErrataError(f"{voi_id} has {why}: {_states(found)}")
    chosen = best(counting)
    named = layer_of(chosen)
    corrected = next(((file, row) for file, row in found if row["layer"] == named), None)
    if corrected is None:
        raise ErrataError(
            f"{voi_id}: {_named(manifest)} has its corrected mask, but not the {named} one that "
            "it was made from; name the OUT folder"
        )
    file, row = corrected
    if chosen["label_voxels_sha256"] is None:
        raise ErrataError(f"{voi_id}: the manifest has no hash of its mask; index it again")
    if row["affine"] is None:
        raise ErrataError(f"{voi_id}: its row has no affine")
    return Target(root_of(file), row, chosen)


def _named(manifest: Paths) -> str:
    many = [manifest] if isinstance(manifest, str | Path) else manifest
    return ", ".join(str(path) for path in many)


def _states(found: Sequence[tuple[Path, Row]]) -> str:
    said = (f"{row['layer']} is {row['reason'] or row['status']}" for _, row in found)
    return ", ".join(dict.fromkeys(said))


@dataclass(frozen=True)
class Current:
    """A mask to continue from: the manifest's, after the corrections of an overlay.

    Attributes
    ----------
    row : dict
        Of the layer that is corrected, with what the overlay relabelled.
    sha256 : str
        Of its voxels.
    patch : str or None
        Patch beside the overlay that holds it; None: it is the manifest's own.
    edits : int
        How many corrections of the overlay led to it.
    """

    row: Row
    sha256: str
    patch: str | None
    edits: int

    def mask(self, overlay: Path, target: Target) -> NDArray[np.bool_] | None:
        """Mask of the patch, shape (256, 256, 128), RAS; None where there is none."""
        return None if self.patch is None else read_patch(overlay, self.patch, target.affine)


def current(target: Target, overlay: Path) -> Current:
    """Tell which mask an overlay leaves.

    Raises
    ------
    ErrataError
        It leaves none, is not an overlay, or is about another mask.
    """
    return _after(target, load_overlay(overlay) if overlay.is_file() else None, overlay)


def _after(target: Target, overlay: Overlay | None, path: Path) -> Current:
    row = target.row
    key = row["source"], str(row["voi_id"])
    steps = steps_by_voi(overlay).get(key, []) if overlay else []
    if not steps:
        return Current(row, target.sha256, None, 0)
    if problem := does_not_follow(steps, row["layer"], target.sha256):
        raise ErrataError(f"{path.name}: {row['voi_id']}: {problem}")
    for step in steps:
        if step.columns is not None:
            row = row | step.columns.row()
    last = str(steps[-1].after)
    return Current(row, last, patch_of(steps) if last != target.sha256 else None, len(steps))


def steps_by_voi(overlay: Overlay) -> dict[tuple[str, str], list[Correction]]:
    """Corrections of an overlay by source and VOI, in their order."""
    found: dict[tuple[str, str], list[Correction]] = {}
    for correction in overlay.corrections:
        found.setdefault((correction.source, correction.voi_id), []).append(correction)
    return found


def does_not_follow(steps: Sequence[Correction], layer: str, sha256: str | None) -> str | None:
    """Say why no edit can follow the corrections of a VOI; None where one can.

    Parameters
    ----------
    layer, sha256 : str
        Of the mask that counts now, of which some of the corrections may be applied already.
    """
    last = steps[-1]
    if last.after is None:
        return f"{last.kind} ({last.reason}); nothing is left to edit"
    if last.layer != layer or sha256 not in [steps[0].before, *(step.after for step in steps)]:
        return "has corrections of another mask; name another overlay"
    return None


def patch_of(steps: Sequence[Correction]) -> str | None:
    """Patch that holds the mask after some corrections; None: none of them replaces it."""
    patches = [step.patch for step in steps if step.kind is Kind.REPLACE]
    return patches[-1] if patches else None


@dataclass(frozen=True)
class Edit:
    """A new mask, and who says why.

    Attributes
    ----------
    mask : ndarray, shape (256, 256, 128), bool, RAS
    before : str
        `label_voxels_sha256` of the mask that was edited.
    author, reason, evidence : str
        One line each; a name or handle, no address.
    full : bool
        The mask is all of the lesion, though the one before covered one slice or a network's: its
        supervision becomes `full`.
    """

    mask: NDArray[np.bool_]
    before: str
    author: str
    reason: str
    evidence: str
    full: bool = False


def save_edit(target: Target, edit: Edit, overlay: Path | None = None) -> Correction:
    """Check an edited mask and write it into an overlay, the patch first.

    When this returns, both are on disk. The corrections of a VOI form a chain: an edit of an edited
    mask stands behind it.

    Parameters
    ----------
    target : Target
    edit : Edit
    overlay : Path, optional
        Default: `errata/edits.yaml` of the OUT folder.

    Raises
    ------
    ErrataError
        The mask is not one lesion that holds the click, is the one before, or was made from a mask
        that is not the current one; the author or the reason cannot be written; or the overlay
        cannot be.
    """
    path = target.overlay if overlay is None else overlay
    after = sha256_voxels(edit.mask.view(np.uint8))

    def made(held: Overlay) -> Correction:
        found = _after(target, held, path)
        if found.sha256 != edit.before:
            raise ErrataError(
                f"{target.row['voi_id']}: the mask that was edited is not the current one; "
                "somebody corrected it in the meantime: open it again"
            )
        full = edit.full and found.row["supervision"] != Supervision.FULL
        columns = Columns(supervision=Supervision.FULL) if full else None
        row = found.row | columns.row() if columns is not None else found.row
        check_mask(edit.mask, row)
        if after == found.sha256:
            raise ErrataError(f"{target.row['voi_id']}: the mask is as it was; nothing to save")
        correction = _correction(target, edit, after, columns)
        patch = write_patch(path, edit.mask, target.affine)
        return correction.model_copy(update={"patch": patch})

    return append(path, made, title=TITLE).corrections[-1]


def _correction(target: Target, edit: Edit, after: str, columns: Columns | None) -> Correction:
    row = target.row
    try:
        return Correction(
            kind=Kind.REPLACE,
            source=row["source"],
            voi_id=str(row["voi_id"]),
            layer=row["layer"],
            reason=edit.reason,
            evidence=edit.evidence,
            author=edit.author,
            date=datetime.datetime.now(datetime.UTC).date(),
            before=edit.before,
            after=after,
            patch="0" * 64,  # until the checks are done and the file is there
            columns=columns,
        )
    except ValidationError as error:
        raise ErrataError(wrong_field(error)) from error
