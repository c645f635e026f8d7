"""A mask that was edited since the manifest was written, as triage shows and judges it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from uls_data.errata.mask import read_patch
from uls_data.errors import CaseError, UlsDataError
from uls_data.geometry import Triple, bounding_box
from uls_data.manifest.by_axis import known_spacing
from uls_data.manifest.row import Row
from uls_data.measure.label import describe_label
from uls_data.triage.verdicts import Subject
from uls_data.triage.vois import Voi


class Held(NamedTuple):
    """A mask of a patch.

    Attributes
    ----------
    mask : ndarray, bool
        The box that just holds it, RAS.
    start : tuple of 3 int
        VOI index of its first voxel.
    measured : dict
        Columns of the manifest that are measured on it.
    """

    mask: NDArray[np.bool_]
    start: Triple
    measured: Row


def read_held(overlay: Path, patch: str, row: Row) -> Held:
    """Read the mask of a patch beside an overlay.

    Parameters
    ----------
    row : dict
        Of the VOI, with `affine` and voxel size.

    Raises
    ------
    ErrataError, CaseError
        It cannot be read, see `read_patch`.
    """
    mask = read_patch(overlay, patch, np.array(row["affine"], float).reshape(4, 4))
    columns, _ = describe_label(mask, known_spacing(row))
    box, start = bounding_box(mask)
    return Held(box.copy(), start, cast(Row, columns))


class Edited:
    """A mask that stands for the manifest's.

    Parameters
    ----------
    subject : Subject
        With the hash of this mask.
    overlay : Path
    patch : str
        Beside the overlay; read when it is shown first.
    """

    def __init__(self, subject: Subject, overlay: Path, patch: str) -> None:
        self.subject, self._overlay, self._patch = subject, overlay, patch
        self._held: Held | None = None

    def held(self, row: Row) -> Held:
        """Mask, and what is measured on it; parameters and errors as of `read_held`."""
        if self._held is None:
            self._held = read_held(self._overlay, self._patch, row)
        return self._held

    def on(self, voi: Voi) -> Voi:
        """VOI with this mask and what is measured on it."""
        try:
            mask, start, measured = self.held(voi.row)
        except UlsDataError as error:
            words = error.detail if isinstance(error, CaseError) else str(error)
            problems = (*voi.problems, f"Edited mask: {words}")
            return replace(voi, subject=None, problems=problems)
        subject = None if voi.subject is None else self.subject
        why = (*voi.why, f"The mask was edited, see {self._overlay.name}.")
        return replace(
            voi, row=voi.row | measured, mask=mask, start=start, subject=subject, why=why
        )
