"""Made-up lesions among made-up tissues, of any contrast: shapes to learn from where scans are few.

No organ looks like this. What a network can learn here holds for every organ: a lesion has a border
that continues from slice to slice, and its lines tell where it is.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.ids import draw

_SHAPE = (128, 128, 56)
# Air, lung, fat, fluid, muscle, liver with contrast, bone.
_TISSUES_HU = (-950, -850, -100, 10, 55, 110, 350)
_CHANCES = (0.05, 0.15, 0.2, 0.1, 0.25, 0.2, 0.05)


def write(root: Path, count: int) -> None:
    """Write `images/mNNNN.nii.gz` and `masks/mNNNN.nii.gz`; scan NNNN is always the same."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for n in range(count):
        name = f"m{n:04d}.nii.gz"
        if (root / "masks" / name).is_file():
            continue
        hu, lesion, spacing_mm = scan(np.random.default_rng(draw(1 << 53, "made-up", n)))
        affine = np.diag([*spacing_mm, 1.0])
        nibabel.save(nibabel.Nifti1Image(hu, affine), root / "images" / name)
        nibabel.save(nibabel.Nifti1Image(lesion.astype(np.uint8), affine), root / "masks" / name)


def scan(
    random: np.random.Generator,
) -> tuple[NDArray[np.int16], NDArray[np.bool_], tuple[float, float, float]]:
    """HU and the lesion's mask, shape (x, y, z), and the spacing in mm."""
    in_plane, thick = float(random.uniform(0.6, 1.0)), float(random.uniform(1.0, 5.0))
    spacing_mm = (in_plane, in_plane, thick)
    tissue, hu = _tissues(random, spacing_mm)
    radius_mm = float(np.exp(random.uniform(np.log(5), np.log(30 * in_plane))))
    radius_mm = min(radius_mm, 0.35 * thick * _SHAPE[2])
    lesion = _shape(random, spacing_mm, radius_mm)
    _vessels(random, hu, spacing_mm)
    if random.random() < 0.5:  # it ends where the organ ends
        most = np.bincount(tissue[lesion]).argmax()
        kept = ndimage.binary_opening(lesion & (tissue == most), iterations=1)
        labels, found = ndimage.label(kept)
        if found:
            largest = labels == 1 + np.bincount(labels[labels > 0])[1:].argmax()
            lesion = largest if largest.sum() > 0.4 * lesion.sum() else lesion
    hu[lesion] = _lesion_hu(random, hu, lesion, spacing_mm)
    hu = ndimage.gaussian_filter(hu, [0.6 / in_plane * 0.8] * 2 + [0.4])
    noise = random.normal(size=_SHAPE)
    noise = ndimage.gaussian_filter(noise, [random.uniform(0.4, 1.0)] * 2 + [0.0])
    hu += noise / noise.std() * random.uniform(4, 25)
    return np.rint(hu).clip(-1024, 3000).astype(np.int16), lesion, spacing_mm


def _field(
    random: np.random.Generator, spacing_mm: tuple[float, float, float], scale_mm: float
) -> NDArray[np.float64]:
    """Smooth random numbers of unit variance."""
    field = ndimage.gaussian_filter(
        random.normal(size=_SHAPE), [scale_mm / mm for mm in spacing_mm], truncate=2.5
    )
    return np.asarray((field - field.mean()) / field.std())


def _tissues(
    random: np.random.Generator, spacing_mm: tuple[float, float, float]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    kinds = random.choice(_TISSUES_HU, size=3, p=_CHANCES, replace=False)
    fields = np.stack([_field(random, spacing_mm, random.uniform(8, 20)) for _ in kinds])
    fields[0] += 0.8  # what most lesions lie in
    tissue = fields.argmax(0)
    level = kinds + random.uniform(-15, 15, 3)
    hu = level[tissue] + _field(random, spacing_mm, 3) * random.uniform(0, 8)
    return tissue, hu


def _vessels(
    random: np.random.Generator, hu: NDArray[np.float64], spacing_mm: tuple[float, float, float]
) -> None:
    """Tubes where two smooth fields are both near zero."""
    a, b = (_field(random, spacing_mm, random.uniform(5, 12)) for _ in range(2))
    hu[np.hypot(a, b) < random.uniform(0.05, 0.25)] = random.uniform(20, 220)


def _shape(
    random: np.random.Generator, spacing_mm: tuple[float, float, float], radius_mm: float
) -> NDArray[np.bool_]:
    """One body about the middle: an ellipsoid aslant, with a bumpy surface, maybe with lobes."""
    axes = [(np.arange(n) - n // 2) * mm for n, mm in zip(_SHAPE, spacing_mm, strict=True)]
    at = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    bumps = _field(random, spacing_mm, radius_mm * random.uniform(0.3, 0.8))
    roughness = random.uniform(0.0, 0.25)
    inside = np.zeros(_SHAPE, bool)
    for lobe in range(1 + int(random.integers(3) * random.integers(2))):
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        stretch = np.exp(random.uniform(-0.35, 0.35, 3))
        size = radius_mm * (1.0 if lobe == 0 else random.uniform(0.4, 0.8))
        away = random.normal(size=3)
        away *= 0.0 if lobe == 0 else radius_mm * random.uniform(0.6, 1.1) / np.linalg.norm(away)
        r = np.linalg.norm((at - away) @ turn / stretch, axis=-1) / size
        inside |= r + roughness * bumps < 1
    labels, _ = ndimage.label(inside)
    counts = np.bincount(labels[inside])
    return np.asarray(labels == counts.argmax())


def _lesion_hu(
    random: np.random.Generator,
    hu: NDArray[np.float64],
    lesion: NDArray[np.bool_],
    spacing_mm: tuple[float, float, float],
) -> NDArray[np.float64]:
    about = float(np.median(hu[lesion]))
    level = random.uniform(-20, 120)
    if about > -200 and random.random() < 0.7:
        level = about + random.choice([-1, 1]) * random.uniform(12, 60)
    values = level + _field(random, spacing_mm, random.uniform(2, 6))[lesion] * random.uniform(
        0, 15
    )
    if random.random() < 0.25:  # a dead core
        depth = ndimage.distance_transform_edt(lesion, sampling=spacing_mm)[lesion]
        values[depth > random.uniform(0.4, 0.7) * depth.max()] -= random.uniform(15, 50)
    return np.asarray(values)
