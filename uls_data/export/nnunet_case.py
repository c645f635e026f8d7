"""One VOI as nnU-Net's preprocessing leaves it, without resampling."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from uls_data.export.nnunet_files import voxel_size
from uls_data.geometry import Affine, Triple, bounding_box, spacing_mm
from uls_data.network.plan import Intensities

# nnU-Net's label of what lies around an image, where it is 0.
_OUTSIDE = -1
_SEED, _SAMPLES, _LEAST_SHARE = 1234, 10_000, 0.01


@dataclass(frozen=True)
class Case:
    """One case of nnU-Net's preprocessed dataset.

    Attributes
    ----------
    data : ndarray, shape (1, z, y, x), float32
        Normalised.
    seg : ndarray, shape (1, z, y, x), int16
        0 background, 1 lesion, 2 to ignore, -1 outside the image.
    properties : dict
        What nnU-Net's loader and its export of predictions look up.
    """

    data: NDArray[np.float32]
    seg: NDArray[np.int16]
    properties: dict[str, Any]


def shape_of(hu: NDArray[np.integer]) -> Triple:
    """Size (z, y, x) of a VOI after nnU-Net has cut off what is 0 around it."""
    z, y, x = (high - low for low, high in _box(hu.T))
    return z, y, x


def preprocessed(
    hu: NDArray[np.integer],
    label: NDArray[np.uint8],
    affine: Affine,
    intensities: Intensities,
    *,
    ignores: bool = False,
) -> Case:
    """Crop, label, normalise and draw locations as nnU-Net's `DefaultPreprocessor` does.

    Parameters
    ----------
    hu, label : ndarray, shape (x, y, z)
    affine : ndarray, 4x4, RAS, mm
    ignores : bool
        Whether the dataset has a label to ignore; then locations of all that is annotated are
        drawn too, background included, as nnU-Net does from 2.6.4 on.
    """
    image = hu.T
    box = _box(image)
    part = tuple(slice(low, high) for low, high in box)
    seg = np.ascontiguousarray(label.T[part], np.int16)
    outside = _outside(image[part])
    if outside is not None:
        seg[outside & (seg == 0)] = _OUTSIDE
    data = np.array(image[part], np.float32, order="C")
    np.clip(data, intensities.percentile_00_5, intensities.percentile_99_5, out=data)
    data -= intensities.mean
    data /= max(intensities.std, 1e-8)
    classes: list[int | tuple[int, ...]] = [1]
    if ignores:
        classes.append((_OUTSIDE, 0, 1))
    properties = {
        "sitk_stuff": _geometry(affine),
        "spacing": voxel_size(affine),
        "shape_before_cropping": image.shape,
        "bbox_used_for_cropping": box,
        "shape_after_cropping_and_before_resampling": data.shape,
        "class_locations": _locations(seg, classes),
    }
    return Case(data[None], seg[None], properties)


def pickled(properties: dict[str, Any]) -> bytes:
    """Bytes of the file of properties; the protocol is fixed, for the sake of the bytes."""
    return pickle.dumps(properties, protocol=4)


def _box(image: NDArray[np.integer]) -> list[list[int]]:
    """Start and stop along each axis of what is not 0; all of an image that is 0 everywhere."""
    ends = [np.take(image, at, axis) for axis in range(3) for at in (0, -1)]
    if not all(end.any() for end in ends):
        found, start = bounding_box(image != 0)
        if found.size:
            return [[at, at + size] for at, size in zip(start, found.shape, strict=True)]
    return [[0, size] for size in image.shape]


def _outside(image: NDArray[np.integer]) -> NDArray[np.bool_] | None:
    """Voxels of 0 that are joined to the border by such voxels; None where no border voxel is 0."""
    zero = image == 0
    ends = [np.take(zero, at, axis) for axis in range(3) for at in (0, -1)]
    if not any(end.any() for end in ends):
        return None
    labels = cc3d.connected_components(zero, connectivity=6)
    joined = np.zeros(int(labels.max()) + 1, bool)
    for axis in range(3):
        for at in (0, -1):
            joined[np.take(labels, at, axis)] = True
    joined[0] = False
    found: NDArray[np.bool_] = joined[labels]
    return found


def _locations(
    seg: NDArray[np.int16], classes: list[int | tuple[int, ...]]
) -> dict[int | tuple[int, ...], Any]:
    """Voxels of each class, drawn: arrays of (channel, z, y, x), or empty lists."""
    # nnU-Net's generator, for the same voxels.
    random = np.random.RandomState(_SEED)
    found: dict[int | tuple[int, ...], Any] = {}
    for key in classes:
        labels = key if isinstance(key, tuple) else (key,)
        voxels = np.concatenate([np.flatnonzero(seg == label) for label in labels])
        if not voxels.size:
            found[key] = []
            continue
        wanted = max(min(_SAMPLES, voxels.size), math.ceil(voxels.size * _LEAST_SHARE))
        drawn = voxels[random.choice(voxels.size, wanted, replace=False)]
        channel = np.zeros_like(drawn)
        found[key] = np.stack([channel, *np.unravel_index(drawn, seg.shape)], axis=1)
    return found


def _geometry(affine: Affine) -> dict[str, tuple[float, ...]]:
    """Where the image lies, in SimpleITK's terms: x, y, z, and LPS instead of RAS."""
    to_lps = np.diag([-1.0, -1.0, 1.0])
    direction = to_lps @ affine[:3, :3] / np.array(spacing_mm(affine))
    return {
        "spacing": tuple(voxel_size(affine)[::-1]),
        "origin": tuple(map(float, to_lps @ affine[:3, 3])),
        "direction": tuple(map(float, direction.ravel())),
    }
