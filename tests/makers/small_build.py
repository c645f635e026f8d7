"""Small made-up cases, built."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from isal import igzip
from numpy.typing import NDArray

from demo.files import write_itk, write_nifti
from demo.phantom import store
from uls_data.factory import BuildReport, build
from uls_data.recipe import recipe_template
from uls_data.voi import CENTRE, VOI_SHAPE

SHAPE = (30, 26, 20)
AFFINE = np.array([[0.8, 0, 0, -31.5], [0, 0.8, 0, 12.75], [0, 0, 2.5, -804.0], [0, 0, 0, 1.0]])
Block = tuple[slice, slice, slice]


def block(x: int, y: int, z: int, size: int = 6) -> Block:
    return slice(x, x + size), slice(y, y + size), slice(z, z + size)


ONE = (block(8, 9, 7),)
TWO = (block(3, 4, 2), block(18, 15, 11))
NOWHERE = -(1 << 31)


def hu_of(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-900, 900, shape).astype(np.int16)


def mask_of(shape: tuple[int, ...], blocks: tuple[Block, ...]) -> NDArray[np.uint8]:
    mask = np.zeros(shape, dtype=np.uint8)
    for part in blocks:
        mask[part] = 1
    return mask


def put(
    raw: Path,
    case: str,
    blocks: tuple[Block, ...] = ONE,
    *,
    image: NDArray[Any] | None = None,
    mask: NDArray[Any] | None = None,
    affine: NDArray[np.float64] = AFFINE,
    mask_affine: NDArray[np.float64] | None = None,
    codes: str = "RAS",
    mask_codes: str | None = None,
    suffix: str = ".nii",
) -> None:
    """Write the image and the mask of one case; both are given in RAS."""
    image = hu_of(SHAPE) if image is None else image
    mask = mask_of(image.shape, blocks) if mask is None else mask
    pairs = (
        ("images", image, affine, codes),
        ("masks", mask, affine if mask_affine is None else mask_affine, mask_codes or codes),
    )
    for folder, array, its, way in pairs:
        stored, stored_affine = store(array, its, way)
        writer = write_nifti if suffix.startswith(".nii") else write_itk
        writer(raw / folder / f"{case}{suffix}", stored, stored_affine)


def write_recipe(raw: Path, **changes: Any) -> Path:
    content = {**yaml.safe_load(recipe_template("mine")), **changes}
    path = raw / f"recipe-{hashlib.sha256(repr(changes).encode()).hexdigest()[:8]}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def run(raw: Path, out: Path, changes: dict[str, Any] | None = None, **options: Any) -> BuildReport:
    return build(write_recipe(raw, **(changes or {})), raw, out, **options)


def tree(out: Path) -> dict[str, str]:
    """Hash of every file that a build promises: all but its own records."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and ".uls-data" not in path.parts
    }


def read_nifti(path: Path) -> nib.Nifti1Image:
    """A `.nii.gz` as nibabel reads it, inflated by ISA-L, which takes half the time."""
    return nib.Nifti1Image.from_bytes(igzip.decompress(path.read_bytes()))


def loaded(path: Path) -> tuple[NDArray[Any], NDArray[np.float64]]:
    image = read_nifti(path)
    return np.asarray(image.dataobj), image.affine


def only_row(report: BuildReport) -> dict[str, Any]:
    (row,) = report.rows
    return row


def check_placed_back(
    row: dict[str, Any], out: Path, hu: NDArray[Any], affine: NDArray[np.float64], lesion: Any
) -> None:
    """Place a VOI back into its RAS scan by its file's affine, and compare voxel for voxel."""
    voi, voi_affine = loaded(out / row["image_path"])
    label, label_affine = loaded(out / row["label_path"])
    assert voi.shape == label.shape == VOI_SHAPE
    assert nib.aff2axcodes(voi_affine) == ("R", "A", "S")
    np.testing.assert_array_equal(voi_affine, label_affine)
    np.testing.assert_allclose(voi_affine, np.reshape(row["affine"], (4, 4)), atol=1e-3)
    offset = np.linalg.solve(affine[:3, :3], voi_affine[:3, 3] - affine[:3, 3])
    start = np.rint(offset).astype(int)
    np.testing.assert_allclose(offset, start, atol=1e-2)
    expected = np.full(VOI_SHAPE, NOWHERE, dtype=np.int32)
    marked = np.zeros(VOI_SHAPE, dtype=bool)
    ours, theirs = [], []
    for at, size, scan in zip(start, VOI_SHAPE, hu.shape, strict=True):
        low, high = max(at, 0), min(at + size, scan)
        theirs.append(slice(low, high))
        ours.append(slice(low - at, high - at))
    expected[tuple(ours)] = hu[tuple(theirs)]
    marked[tuple(ours)] = lesion[tuple(theirs)]
    real = expected != NOWHERE
    lowest, highest = int(expected[real].min()), int(expected[real].max())
    sentinel = lowest - 1
    assert (row["hu_min"], row["hu_max"], row["pad_value_hu"]) == (lowest, highest, sentinel)
    expected[~real] = sentinel
    assert np.array_equal(voi, expected)
    assert np.array_equal(voi == sentinel, ~real)
    assert np.array_equal(label, marked)
    assert label[CENTRE] == 1
    assert row["mask_voxels"] == marked.sum()
    assert row["fraction_outside_voi"] == pytest.approx(1 - marked.sum() / np.sum(lesion))
