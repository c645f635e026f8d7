"""What is known of one mask that a certificate judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from uls_data.ids import draw
from uls_data.manifest.row import Row

# Measures that the score may use: 1 where more is worse, -1 where more is better.
WORSE: dict[str, int] = {
    "disagreement": 1,
    "key_slice_disagreement": 1,
    "key_slice_dice": -1,
    "long_error": 1,
    "short_error": 1,
    "endpoint_distance": 1,
    "volume_ratio": 1,
    "unlike": 1,
    "shape_flags": 1,
    "predicted_dice": -1,
    "uncertainty": 1,
    "view_disagreement": 1,
    "click_dice": -1,
}
# Measures that only tell whether new lesions look like those of the calibration.
CONTEXT = ("noise_hu", "mask_hu", "long_axis_mm", "spacing_x_mm", "spacing_z_mm")
# Upper ends of the bands of a lesion's long axis.
SIZES_MM = (10.0, 20.0, 40.0)


@dataclass(frozen=True)
class Judged:
    """One mask.

    Attributes
    ----------
    identity : tuple
        Source, case, lesion, sample and layer.
    patient : str
        Across sources; the scan where the patient is not known.
    lesion_type : str
    measures : dict of str to float or None
        By the names of `WORSE` and `CONTEXT`; absent or None: not known.
    dice : float or None
        With the truth, where that is known.
    """

    identity: tuple[Any, ...]
    patient: str
    lesion_type: str
    measures: Mapping[str, float | None]
    dice: float | None = None

    def values(self, names: Iterable[str]) -> list[float]:
        """Measures of these names; NaN where one is not known."""
        found = (self.measures.get(name) for name in names)
        return [np.nan if value is None else float(value) for value in found]

    @property
    def size(self) -> str:
        """Band of the lesion's long axis."""
        return size_band(self.measures.get("long_axis_mm"))


def size_band(long_axis_mm: float | None) -> str:
    """Band of a long axis, such as `10 to 20 mm`."""
    if long_axis_mm is None:
        return "unknown"
    at = sum(long_axis_mm >= end for end in SIZES_MM)
    if at == 0:
        return f"under {SIZES_MM[0]:g} mm"
    if at == len(SIZES_MM):
        return f"{SIZES_MM[-1]:g} mm and more"
    return f"{SIZES_MM[at - 1]:g} to {SIZES_MM[at]:g} mm"


def identity_of(row: Row) -> tuple[Any, ...]:
    """Source, case, lesion, sample and layer of a row."""
    lesion, sample = row["lesion_index"] or 0, row["sample_index"] or 0
    return row["source"], row["case_id"], lesion, sample, row["layer"]


def in_drawn_order(masks: Sequence[Judged], seed: int) -> list[Judged]:
    """Masks by patient, those of one patient in an order drawn from their identities."""
    return sorted(
        masks,
        key=lambda mask: (mask.patient, draw(1 << 64, seed, "mask", *mask.identity), mask.identity),
    )


def one_a_patient(masks: Sequence[Judged], seed: int) -> list[Judged]:
    """First mask of each patient in the drawn order."""
    first: dict[str, Judged] = {}
    for mask in in_drawn_order(masks, seed):
        first.setdefault(mask.patient, mask)
    return list(first.values())
