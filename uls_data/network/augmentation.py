"""Random changes of examples, of the kinds and chances of nnU-Net, on their own device."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional

_MODES = {"image": "bilinear", "lesion": "nearest", "known": "nearest"}
# How often an example is turned and stretched, and how its image changes.
_TURNED, _FLIPPED = 0.35, 0.5
_NOISY, _SMOOTH, _SCALED, _COARSE, _CONTRAST = 0.1, 0.1, 0.15, 0.1, 0.3
_MOST_TURN = math.pi / 6
_STRETCH = (0.7, 1.4)
_MOST_NOISE = 0.1
_SIGMA_VOX = (0.5, 1.0)
_FACTOR = (0.75, 1.25)
_ZOOM = (0.5, 1.0)
_GAMMA = (0.7, 1.5)
_SMALL = 1e-8


class Augmentation:
    """Change one example at a time; the same seed gives the same change.

    Turning and stretching stay within the axial plane: slices are thick, and a mask of one
    slice would fall apart. The click stays at the centre. Only noise depends on the device.

    Parameters
    ----------
    also : mapping of str to str, optional
        Further tensors of an example, and how they are interpolated: `bilinear` or `nearest`.
        They are turned with the image, and left alone otherwise.
    """

    def __init__(self, also: Mapping[str, str] | None = None) -> None:
        self._modes = {**_MODES, **(also or {})}

    def __call__(self, example: dict[str, Any], seed: int) -> dict[str, Any]:
        """Change tensors `image`, `lesion`, `known` and those of `also`, (channels, z, y, x)."""
        random = np.random.default_rng(seed)
        changed = dict(example)
        with torch.no_grad():
            self._place(changed, random)
            changed["image"] = _look(changed["image"], random)
        return changed

    def _place(self, example: dict[str, Any], random: np.random.Generator) -> None:
        """Turn, stretch and flip all tensors in the same way."""
        turns = random.random() < _TURNED
        angle = random.uniform(-_MOST_TURN, _MOST_TURN)
        stretch = random.uniform(*_STRETCH, 2)
        axes = [axis for axis in (1, 2, 3) if random.random() < _FLIPPED]
        for name, mode in self._modes.items():
            tensor = example[name]
            if turns:
                tensor = turned(tensor, angle, stretch, mode)
            example[name] = tensor.flip(axes) if axes else tensor


def turned(tensor: Any, angle: float, stretch: Any, mode: str) -> Any:
    """Turn every axial slice about its centre; what comes from outside is as the edge.

    Parameters
    ----------
    tensor : Tensor, shape (channels, z, y, x)
    angle : float
        Radians.
    stretch : sequence of float
        Along y and x: voxels of the input that one of the output covers.
    mode : str
        `bilinear` or `nearest`.
    """
    height, width = tensor.shape[2:]
    sine, cosine = math.sin(angle), math.cos(angle)
    along_y, along_x = stretch
    # x before y, each in halves of the slice's size.
    rows = [
        [cosine * along_x, sine * along_y * height / width, 0],
        [-sine * along_x * width / height, cosine * along_y, 0],
    ]
    matrix = torch.tensor([rows], dtype=torch.float32, device=tensor.device)
    grid = functional.affine_grid(matrix, [1, 1, height, width], align_corners=False)
    # Slices are channels of one picture.
    slices = tensor.reshape(1, -1, height, width)
    taken = functional.grid_sample(slices, grid, mode, padding_mode="border", align_corners=False)
    return taken.reshape(tensor.shape)


def _look(image: Any, random: np.random.Generator) -> Any:
    """Change how an image looks; each change has its chance."""
    seed = int(random.integers(1 << 62))
    if random.random() < _NOISY:
        image = _noisy(image, random.uniform(0, _MOST_NOISE), seed)
    sigmas_vox = random.uniform(*_SIGMA_VOX, 3)
    if random.random() < _SMOOTH:
        image = smoothed(image, sigmas_vox)
    factor = random.uniform(*_FACTOR)
    if random.random() < _SCALED:
        image = image * factor
    zoom = random.uniform(*_ZOOM)
    if random.random() < _COARSE:
        image = coarse(image, zoom)
    gamma = random.uniform(*_GAMMA)
    if random.random() < _CONTRAST:
        image = contrasted(image, gamma)
    return image


def _noisy(image: Any, deviation: float, seed: int) -> Any:
    source = torch.Generator(image.device).manual_seed(seed)
    noise = torch.randn(image.shape, generator=source, device=image.device, dtype=image.dtype)
    return image + deviation * noise


def smoothed(image: Any, sigmas_vox: Any) -> Any:
    """Smooth with a Gaussian, its standard deviation along z, y and x in voxels."""
    for axis, sigma in enumerate(sigmas_vox, 1):
        size, reach = image.shape[axis], int(4 * sigma + 0.5)
        # What of the curve lies within each voxel.
        edges = torch.arange(-reach, reach + 2, dtype=torch.float64) - 0.5
        kernel = torch.special.erf(edges / (sigma * math.sqrt(2))).diff()
        ends = [image.narrow(axis, at, 1) for at in (0, size - 1)]
        padded = torch.cat([ends[0]] * reach + [image] + [ends[1]] * reach, axis)
        # Sums of a few shifted images: four times as fast on a CPU as a convolution.
        image = torch.zeros_like(image)
        for at, weight in enumerate((kernel / kernel.sum()).tolist()):
            image.add_(padded.narrow(axis, at, size), alpha=weight)
    return image


def coarse(image: Any, zoom: float) -> Any:
    """Take fewer voxels, and interpolate between them."""
    shape = image.shape[1:]
    fewer = [max(1, round(size * zoom)) for size in shape]
    small = functional.interpolate(image[None], fewer, mode="nearest")
    return functional.interpolate(small, shape, mode="trilinear", align_corners=False)[0]


def contrasted(image: Any, gamma: float) -> Any:
    """Bend the curve of intensities; mean and standard deviation stay."""
    low, high = image.aminmax()
    extent = high - low
    bent = ((image - low) / (extent + _SMALL)) ** gamma * extent + low
    return (bent - bent.mean()) / (bent.std() + _SMALL) * image.std() + image.mean()
