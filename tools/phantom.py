"""Made-up lesions with known masks: lobed, noisy, grown onto tissue like themselves.

Only what depends on the identity is random. They are stand-ins for fitting and testing, not
for claims about real lesions.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.measure.lines import Lines
from uls_data.pseudomask.key_slice import KeySlice

_SPACING_MM = (0.8, 0.8)


@dataclass(frozen=True)
class Phantom:
    """A slice, the mask of the lesion on it, and the contrast to noise that it was made with."""

    key_slice: KeySlice
    mask: NDArray[np.bool_]
    contrast_to_noise: float


def phantom(
    identity: tuple[str | int, ...], contrast_to_noise: tuple[float, float] = (1.0, 2.0)
) -> Phantom:
    """Make a lobed lesion, 12 to 70 px long, with lines from its own mask."""
    random = _random(identity)
    mask = lobed(random, float(np.exp(random.uniform(np.log(6), np.log(35)))))
    return painted(mask, identity, contrast_to_noise)


def lobed(random: np.random.Generator, radius: float) -> NDArray[np.bool_]:
    """Star-shaped mask about a radius in pixels: an ellipse with waves on its edge."""
    room = int(2.2 * radius) + 4
    x, y = np.mgrid[-room : room + 1, -room : room + 1].astype(float)
    tilt, aspect = random.uniform(0, np.pi), random.uniform(0.5, 1)
    u, v = x * np.cos(tilt) + y * np.sin(tilt), y * np.cos(tilt) - x * np.sin(tilt)
    angle = np.arctan2(v / aspect, u)
    wave = np.zeros_like(x)
    for order in range(2, 8):
        wave += random.normal(0, 0.22 / order) * np.cos(
            order * angle + random.uniform(0, 2 * np.pi)
        )
    mask = np.hypot(u, v / aspect) <= radius * np.exp(np.clip(wave, -0.5, 0.5))
    labels, _ = ndimage.label(mask)
    lesion: NDArray[np.bool_] = ndimage.binary_fill_holes(labels == labels[room, room])
    return lesion


def painted(
    mask: NDArray[Any],
    identity: tuple[str | int, ...],
    contrast_to_noise: tuple[float, float] = (1.0, 2.0),
) -> Phantom:
    """Paint a CT-like slice around a mask, which must have an extent.

    Raises
    ------
    ValueError
        The mask has no lines.
    """
    random = _random((*identity, "paint"))
    lines = Lines.from_mask(mask)
    if lines is None:
        raise ValueError("a mask without extent has no lines")
    room = int(1.2 * lines.long_vox) + 8
    lesion = np.pad(np.asarray(mask, dtype=bool), room)
    noise_hu, contrast = random.uniform(8, 30), random.uniform(*contrast_to_noise)
    ground_hu = -850.0 if random.random() < 0.2 else random.uniform(-110, 80)
    lesion_hu = ground_hu + (1 if random.random() < 0.7 else -1) * contrast * noise_hu
    image = np.full(lesion.shape, ground_hu)
    x, y = np.mgrid[: lesion.shape[0], : lesion.shape[1]].astype(float)
    middle = np.argwhere(lesion).mean(axis=0)
    for _ in range(random.integers(1, 6)):
        way, size = random.uniform(0, 2 * np.pi), lines.long_vox * random.uniform(0.15, 0.8)
        away = lines.long_vox * random.uniform(0.5, 1.3)
        u, v = x - middle[0] - away * np.cos(way), y - middle[1] - away * np.sin(way)
        turn, aspect = random.uniform(0, np.pi), random.uniform(0.3, 1)
        a, b = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
        like = random.random() < 0.35
        value = lesion_hu if like else ground_hu + random.normal(0, 3) * noise_hu
        image[np.hypot(a, b / aspect) < size] = value
    image[lesion] = lesion_hu
    texture = ndimage.gaussian_filter(random.normal(size=image.shape), max(1.5, lines.long_vox / 8))
    image += texture / texture.std() * noise_hu * random.uniform(0, 0.5)
    image = ndimage.gaussian_filter(image, random.uniform(0.5, 1.2))
    grain = ndimage.gaussian_filter(random.normal(size=image.shape), random.uniform(0.3, 0.9))
    hu = np.rint(image + grain / grain.std() * noise_hu).astype(np.int16)
    key_slice = KeySlice(hu, lines.moved(room, room), _SPACING_MM, identity=identity)
    return Phantom(key_slice, lesion, contrast)


def _random(identity: tuple[str | int, ...]) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32("/".join(map(str, identity)).encode()))
