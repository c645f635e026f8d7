"""Augmentation of training examples: ours, and the same changes by MONAI's transforms, in turn.

    python -m benchmarks.augmentation [--crop 64 128 128] [--examples 40] [--device cuda]

Prints milliseconds per example, of image, lesion and known voxels.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
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

from uls_data.network.augmentation import Augmentation

Change = Callable[[dict[str, Any], int], dict[str, Any]]
ALL, IMAGE = ["image", "lesion", "known"], ["image"]
SIGMA = (0.5, 1.0)


def monais() -> Change:
    """Changes of the same kinds, chances and sizes."""
    compose = Compose(
        [
            RandAffined(
                keys=ALL,
                prob=0.35,
                rotate_range=(math.pi / 6, 0, 0),
                scale_range=((0, 0), (-0.3, 0.4), (-0.3, 0.4)),
                mode=["bilinear", "nearest", "nearest"],
                padding_mode="border",
                cache_grid=False,
            ),
            *(RandFlipd(keys=ALL, prob=0.5, spatial_axis=axis) for axis in range(3)),
            RandGaussianNoised(keys=IMAGE, prob=0.1, std=0.1),
            RandGaussianSmoothd(keys=IMAGE, prob=0.1, sigma_x=SIGMA, sigma_y=SIGMA, sigma_z=SIGMA),
            RandScaleIntensityd(keys=IMAGE, factors=0.25, prob=0.15),
            RandSimulateLowResolutiond(keys=IMAGE, prob=0.1, zoom_range=(0.5, 1)),
            RandAdjustContrastd(keys=IMAGE, prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
        ]
    )

    def change(example: dict[str, Any], seed: int) -> dict[str, Any]:
        compose.set_random_state(seed)
        with torch.no_grad():
            return {name: value.as_tensor() for name, value in compose(example).items()}

    return change


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--crop", type=int, nargs=3, default=(64, 128, 128), metavar=("Z", "Y", "X")
    )
    parser.add_argument("--examples", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    shape, device = (1, *options.crop), torch.device(options.device)
    image = torch.randn(shape, device=device)
    example = {"image": image, "lesion": (image > 1).float(), "known": torch.ones_like(image)}
    ways: dict[str, Change] = {"uls-data": Augmentation(), "MONAI": monais()}
    seconds = dict.fromkeys(ways, 0.0)
    for seed in range(-1, options.examples):  # the first is not counted
        for name, change in ways.items():
            began = time.perf_counter()
            change(dict(example), seed % (1 << 32))
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds[name] += (time.perf_counter() - began) * (seed >= 0)
    for name, taken in seconds.items():
        ratio = taken / seconds["uls-data"]
        print(f"{name:10}{1e3 * taken / options.examples:8.1f} ms per example{ratio:7.1f} x")


if __name__ == "__main__":
    main()
