"""A mask that was edited since the manifest was written, as triage shows and judges it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

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
        self._held: tuple[NDArray[np.bool_], Triple, Row] | None = None

    def on(self, voi: Voi) -> Voi:
        """VOI with this mask and what is measured on it."""
        try:
            if self._held is None:
                self._held = self._read(voi.row)
            mask, start, measured = self._held
        except UlsDataError as error:
            words = error.detail if isinstance(error, CaseError) else str(error)
            problems = (*voi.problems, f"Edited mask: {words}")
            return replace(voi, subject=None, problems=problems)
        subject = None if voi.subject is None else self.subject
        why = (*voi.why, f"The mask was edited, see {self._overlay.name}.")
        return replace(
            voi, row=voi.row | measured, mask=mask, start=start, subject=subject, why=why
        )

    def _read(self, row: Row) -> tuple[NDArray[np.bool_], Triple, Row]:
        affine = np.array(row["affine"], float).reshape(4, 4)
        mask = read_patch(self._overlay, self._patch, affine)
        columns, _ = describe_label(mask, known_spacing(row))
        box, start = bounding_box(mask)
        return box.copy(), start, cast(Row, columns)
