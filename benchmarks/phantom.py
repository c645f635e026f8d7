"""A seeded CT-like scan with lesions, for benchmarks and tests.

Run as `python -m benchmarks.phantom --root DIR --lesions N --seed S`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]

CASE = "phantom_000"
SPACING_MM = (0.75, 0.75, 1.5)
# Stored axes run to the left, the back and the head, as most archives have them:
# a pipeline that forgets to turn the array is caught.
AFFINE = np.array(
    [
        [-SPACING_MM[0], 0.0, 0.0, 187.25],
        [0.0, -SPACING_MM[1], 0.0, 203.5],
        [0.0, 0.0, SPACING_MM[2], -611.75],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
SMALLEST_SHAPE = (64, 64, 32)
AIR_HU, LUNG_HU, TISSUE_HU, LESION_HU = -1024, -850, 40, 95
NOISE_HU = 15.0
DIAMETER_MM = (8.0, 30.0)
ROUNDS, TRIES = 20, 500


@dataclass(frozen=True)
class Ellipsoid:
    """One lesion in voxel indices of the stored array."""

    centre: NDArray[np.float64]
    radius: NDArray[np.float64]

    def box(self, shape: Triple) -> tuple[slice, slice, slice]:
        """Slices that hold it within an array of this shape."""
        low = np.maximum(np.floor(self.centre - self.radius).astype(int), 0)
        high = np.minimum(np.ceil(self.centre + self.radius).astype(int) + 1, shape)
        x, y, z = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return x, y, z

    def clear_of(self, other: Ellipsoid) -> bool:
        """Whether the boxes stay two voxels apart, so that no connectivity joins them."""
        gap = np.abs(self.centre - other.centre) - self.radius - other.radius
        return bool((gap > 3).any())


def place(lesions: int, shape: Triple, rng: np.random.Generator) -> list[Ellipsoid]:
    """Draw lesions that do not touch; every second one is cut by a face of the scan.

    Raises
    ------
    ValueError
        The scan has no room for so many.
    """
    for _ in range(ROUNDS):
        placed: list[Ellipsoid] = []
        for attempt in range(TRIES):
            if len(placed) == lesions:
                return placed
            # Later attempts ask for less, so that small scans hold several as well.
            largest = DIAMETER_MM[1] - (DIAMETER_MM[1] - DIAMETER_MM[0]) * attempt / TRIES
            lesion = draw(len(placed), largest, shape, rng)
            if lesion is not None and all(lesion.clear_of(other) for other in placed):
                placed.append(lesion)
    raise ValueError(f"no room for {lesions} separate lesions in {shape}")


def draw(
    number: int, largest_mm: float, shape: Triple, rng: np.random.Generator
) -> Ellipsoid | None:
    """Draw one lesion; None where its size does not fit into the scan."""
    size = np.array(shape)
    radius = rng.uniform(DIAMETER_MM[0], largest_mm, size=3) / 2 / np.array(SPACING_MM)
    low, high = radius + 1, size - 2 - radius
    if (low > high).any():
        return None
    # The middle half of the plane lies in the body, whatever the shape.
    inner = np.array([size[0] / 4, size[1] / 4, 0.0])
    centre = rng.uniform(np.maximum(low, inner), np.maximum(np.minimum(high, size - inner), low))
    if number % 2 == 1:
        axis = (2, 0, 1)[number // 2 % 3]
        depth = 0.6 * radius[axis]
        centre[axis] = depth if rng.random() < 0.5 else size[axis] - 1 - depth
    return Ellipsoid(centre, radius)


def anatomy(shape: Triple, z: int) -> NDArray[np.float32]:
    """Noise-free HU of one stored slice: air, an elliptical body, two lungs."""
    x = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    y = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    along = float(2 * z / (shape[2] - 1) - 1)
    # The body is longer than the scan: it narrows but does not end within it.
    body = (x / 0.88) ** 2 + (y / 0.72) ** 2 + (along / 2.5) ** 2 < 1
    plane = np.where(body, np.float32(TISSUE_HU), np.float32(AIR_HU))
    for side in (-0.40, 0.40):
        lung = ((x - side) / 0.24) ** 2 + ((y + 0.05) / 0.40) ** 2 + ((along - 0.5) / 0.9) ** 2 < 1
        plane[lung & body] = LUNG_HU
    return plane


def make_phantom(
    root: Path, lesions: int, seed: int, shape: tuple[int, int, int] = (512, 512, 160)
) -> None:
    """Write `images/phantom_000.nii.gz` (int16 HU) and `masks/phantom_000.nii.gz` (uint8).

    Parameters
    ----------
    root : Path
        Folder that receives the two.
    lesions : int
        Number of separate lesions, all of mask value 1.
    seed : int
        The same seed gives the same voxels.
    shape : tuple of 3 int
        Voxels of the stored array; at least 64 x 64 x 32.
    """
    if any(n < least for n, least in zip(shape, SMALLEST_SHAPE, strict=True)):
        raise ValueError(f"shape {shape} is below {SMALLEST_SHAPE}")
    rng = np.random.default_rng(seed)
    mask = np.zeros(shape, dtype=np.uint8, order="F")
    for lesion in place(lesions, shape, rng):
        box = lesion.box(shape)
        grid = np.ogrid[box]
        distance = sum(
            ((axis - centre) / radius) ** 2
            for axis, centre, radius in zip(grid, lesion.centre, lesion.radius, strict=True)
        )
        mask[box][distance <= 1] = 1

    image = np.empty(shape, dtype=np.int16, order="F")
    for z in range(shape[2]):
        plane = anatomy(shape, z)
        plane[mask[:, :, z] != 0] = LESION_HU
        plane += NOISE_HU * rng.standard_normal(plane.shape, dtype=np.float32)
        # Scanners store nothing below -1024.
        image[:, :, z] = np.rint(np.maximum(plane, AIR_HU))

    for folder, voxels in (("images", image), ("masks", mask)):
        path = root / folder / f"{CASE}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        volume = nib.Nifti1Image(voxels, AFFINE)
        volume.header.set_xyzt_units("mm")
        nib.save(volume, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--lesions", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--slices", type=int, default=160)
    arguments = parser.parse_args()
    shape = (512, 512, arguments.slices)
    make_phantom(arguments.root, arguments.lesions, arguments.seed, shape)


if __name__ == "__main__":
    main()
