"""The corrections of one VOI, one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uls_data.errata.change import LAYER, Change
from uls_data.errata.mask import check_mask, read_patch
from uls_data.errata.overlay import Correction, ErrataError, Kind
from uls_data.errors import CaseError
from uls_data.io import sha256_voxels
from uls_data.manifest.derived import derived_row, ended, with_label
from uls_data.manifest.paths import voi_file
from uls_data.manifest.row import Row
from uls_data.outcome import Reason, Status
from uls_data.scoring.collection import Item

_ENDS = {Kind.DROP: Reason.ERRATUM_DROP, Kind.RECLICK: Reason.ERRATUM_RECLICK}


@dataclass(frozen=True)
class Step:
    """One correction, and the overlay that holds it.

    Attributes
    ----------
    path : Path
        File of the overlay; patches are beside it.
    overlay : str
        Its name.
    number, place : int
        Of the correction in its overlay, from 1, and among all of the call.
    """

    path: Path
    overlay: str
    number: int
    place: int
    correction: Correction


@dataclass(frozen=True)
class Refusal:
    """Why a chain of corrections cannot be applied."""

    step: Step
    why: str


def root_of(file: Path) -> Path:
    """Folder that the paths of a manifest start from."""
    folder = file.absolute().parent
    return folder.parent if folder.name == "manifest" else folder


class Chain:
    """A VOI while its corrections are applied.

    Parameters
    ----------
    rows : dict of str to (Path, dict)
        Manifest and row of every layer of the VOI but the corrected one.

    Attributes
    ----------
    file : Path
        Manifest of the layer that is corrected.
    row : dict
        Of that layer, with what was relabelled.
    reason : Reason or None
        Why there is no corrected mask.
    click : tuple of 3 int, or None
        Where it is to be cut again, in VOI voxels.
    """

    def __init__(self, rows: Mapping[str, tuple[Path, Row]]) -> None:
        self.rows = rows
        self.row: Row = {}
        self.reason: Reason | None = None
        self.click: tuple[int, int, int] | None = None
        self.changes: list[Change] = []
        self.file = Path()
        self._mask: NDArray[np.bool_] | None = None
        self._sha256: str | None = None
        self._replaced = False

    def run(self, steps: Sequence[Step]) -> Refusal | None:
        """Apply corrections in order; the first that does not fit is the answer."""
        for step in steps:
            try:
                if not self.changes:
                    self._begin(step.correction.layer)
                self._apply(step)
            except ErrataError as error:
                return Refusal(step, str(error))
            except CaseError as error:
                return Refusal(step, error.detail)
            self.changes.append(Change.of(step.correction, step.overlay))
        return None

    def _begin(self, layer: str) -> None:
        if layer not in self.rows:
            raise ErrataError(f"has no layer {layer}, only {', '.join(sorted(self.rows))}")
        self.file, found = self.rows[layer]
        self.row = found.copy()
        if self.row["status"] != Status.OK:
            raise ErrataError(f"its row is {self.row['status']}: {self.row['reason']}")
        if self.row["affine"] is None:
            raise ErrataError("its row has no affine")
        self._sha256 = self.row["label_voxels_sha256"]
        path = voi_file(self.file, self.row["label_path"] or "")
        if path.is_file():
            item = Item(str(self.row["voi_id"]), (), 0, path)
            self._mask = item.read()[0]
            there = sha256_voxels(self._mask.view(np.uint8))
            if there != self._sha256:
                raise ErrataError(
                    f"its label file holds mask {there[:16]}..., "
                    f"the manifest says {str(self._sha256)[:16]}...",
                )

    def _apply(self, step: Step) -> None:
        correction = step.correction
        if correction.layer != self.row["layer"]:
            raise ErrataError(
                f"a VOI has one corrected mask, here made from layer {self.row['layer']}",
            )
        if self.reason is not None:
            raise ErrataError(f"{self.changes[-1].kind} went before")
        if correction.before != self._sha256:
            raise ErrataError(
                f"was written for mask {correction.before[:16]}..., "
                f"here it is {str(self._sha256)[:16]}...",
            )
        if correction.columns is not None:
            self.row |= correction.columns.row()
        if correction.kind is Kind.REPLACE:
            self._replace(step)
        elif correction.kind is not Kind.DROP and self._mask is None:
            raise ErrataError(f"{correction.kind} needs the label file")
        if correction.click is not None and self._mask is not None:
            self.click = correction.click
            if not self._mask[self.click]:
                raise ErrataError(f"the click {self.click} is not in the mask")
        self.reason = _ENDS.get(correction.kind)

    def _replace(self, step: Step) -> None:
        correction = step.correction
        affine = np.array(self.row["affine"]).reshape(4, 4)
        mask = read_patch(step.path, correction.patch or "", affine)
        found = sha256_voxels(mask.view(np.uint8))
        if found != correction.after:
            raise ErrataError(
                f"the patch holds mask {found[:16]}..., `after` says {correction.after}",
            )
        check_mask(mask, self.row)
        self._mask, self._sha256, self._replaced = mask, found, True

    def corrected(self, out: Path) -> Row:
        """Row of layer `corrected`; its label is written below `out`."""
        keep = out.absolute() == root_of(self.file)
        layer = self.row["layer"]
        if self._replaced or self.reason is not None:
            row = derived_row(self.row, LAYER, keep_image=keep and self.reason is None)
        else:
            row = {**self.row, "layer": LAYER}
            if not keep:
                row["image_path"] = None
        row |= {"parent_layer": layer}
        detail = "\n".join(change.line() for change in self.changes)
        if self.reason is not None:
            return ended(row, self.reason, detail)
        assert self._mask is not None
        return {**with_label(row, self._mask, out), "detail": detail}
