"""Random changes of examples: nnU-Net's kinds and chances, as MONAI has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandSimulateLowResolutiond,
)

_IMAGE = ["image"]
_ALL = ["image", "lesion", "known"]
_MODES = ["bilinear", "nearest", "nearest"]


class Augmentation:
    """Change one example at a time; the same seed gives the same change.

    Turning and stretching stay within the axial plane: slices are thick, and a mask of one
    slice would fall apart. The click stays at the centre.

    Parameters
    ----------
    also : mapping of str to str, optional
        Further tensors of an example, and how they are interpolated: `bilinear` or `nearest`.
    """

    def __init__(self, also: Mapping[str, str] | None = None) -> None:
        # What else there is is turned with the image, and left alone otherwise.
        everything = [*_ALL, *(also or {})]
        modes = [*_MODES, *(also or {}).values()]
        self._compose = Compose(
            [
                RandAffined(
                    keys=everything,
                    prob=0.35,
                    rotate_range=(math.pi / 6, 0, 0),
                    scale_range=((0, 0), (-0.3, 0.4), (-0.3, 0.4)),
                    mode=modes,
                    padding_mode="border",
                    cache_grid=False,
                ),
                *(RandFlipd(keys=everything, prob=0.5, spatial_axis=axis) for axis in range(3)),
                RandGaussianNoised(keys=_IMAGE, prob=0.1, std=0.1),
                RandGaussianSmoothd(
                    keys=_IMAGE, prob=0.1, sigma_x=(0.5, 1), sigma_y=(0.5, 1), sigma_z=(0.5, 1)
                ),
                RandScaleIntensityd(keys=_IMAGE, factors=0.25, prob=0.15),
                RandSimulateLowResolutiond(keys=_IMAGE, prob=0.1, zoom_range=(0.5, 1)),
                RandAdjustContrastd(keys=_IMAGE, prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
            ]
        )

    def __call__(self, example: dict[str, Any], seed: int) -> dict[str, Any]:
        """Change tensors `image`, `lesion`, `known` and those of `also`, (channels, z, y, x)."""
        self._compose.set_random_state(seed)
        with torch.no_grad():
            changed = self._compose(example)
        return {name: value.as_tensor() for name, value in changed.items()}
