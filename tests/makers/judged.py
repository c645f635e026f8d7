"""Masks as a certificate knows them, without any voxel."""

from __future__ import annotations

from typing import Any

import numpy as np

from uls_data.certificates.judged import Judged


def lesions(
    count: int, seed: int = 0, *, each: int = 1, bad: float = 0.25, **measures: Any
) -> list[Judged]:
    """Masks whose measures tell of their Dice, with noise; several of a patient fail together."""
    random = np.random.default_rng(seed)
    found = []
    for patient in range(count):
        fails = random.random() < bad
        for lesion in range(each):
            dice = float(np.clip(random.normal(0.45 if fails else 0.85, 0.07), 0, 1))
            found.append(
                Judged(
                    identity=("s", f"{patient:04d}", lesion + 1, 0, "pseudo3d-r1"),
                    patient=f"s/{patient:04d}",
                    lesion_type="liver",
                    measures={
                        "disagreement": float(1 - dice + random.normal(0, 0.1)),
                        "predicted_dice": float(dice + random.normal(0, 0.2)),
                        "long_axis_mm": float(random.uniform(12, 19)),
                        "noise_hu": float(random.normal(15, 2)),
                        **measures,
                    },
                    dice=dice,
                )
            )
    return found
