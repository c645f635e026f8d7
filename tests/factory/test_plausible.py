"""What no CT holds is refused, and what it hardly holds is flagged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from makers.small_build import AFFINE, ONE, SHAPE, hu_of, mask_of, only_row, put, run
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.factory.plausible import check_hu
from uls_data.outcome import Flag, Reason
from uls_data.recipe import load_recipe, recipe_names
from uls_data.recipe.model import Components
from uls_data.volumes.volume import Volume


def scan(values: NDArray[Any], slope: float = 1.0, intercept: float = 0.0) -> Volume:
    return Volume(np.asfortranarray(values), AFFINE, slope, intercept, "", ())


def body() -> NDArray[np.int16]:
    """Air round soft tissue with some bone, as any CT has."""
    hu = np.full((40, 40, 20), -1000, dtype=np.int16)
    hu[5:35, 5:35] = np.random.default_rng(0).normal(40, 15, (30, 30, 20))
    hu[15:18, 30:33] = 700
    return hu


def test_a_body_in_air_has_no_flag() -> None:
    assert check_hu(scan(body())) == set()
    assert check_hu(scan((body() + 1024).astype(np.uint16), intercept=-1024.0)) == set()
    metal = body().astype(np.int32)
    metal[20, 20, :5] = 30_000
    padded = body()
    padded[:4] = -32768
    assert check_hu(scan(metal)) == check_hu(scan(padded)) == set()


@pytest.mark.parametrize(
    "values",
    [
        body().astype(np.int32) + 32768,
        body().astype(np.int32) + 8192,
        body().astype(np.uint16).astype(np.int32),  # the sign is lost
        body().astype(np.int32) - 2 * 1024,
        (body() + 1000) / 2000.0,
        np.where(body() > -1000, body().astype(np.int32) + 32768, 0),
    ],
)
def test_values_that_cannot_be_hu_are_refused(values: NDArray[Any]) -> None:
    with pytest.raises(CaseError) as caught:
        check_hu(scan(values))
    assert caught.value.reason is Reason.HU_OUT_OF_RANGE
    low, high = f"{values.min():g}", f"{values.max():g}"
    assert low in caught.value.detail and high in caught.value.detail


def test_values_that_hardly_are_hu_are_flagged() -> None:
    assert check_hu(scan(body() + 1024)) == {Flag.NO_AIR, Flag.HU_OFFSET_SUSPECTED}
    assert check_hu(scan(body()[6:34, 6:34])) == {Flag.NO_AIR}
    assert check_hu(scan(np.clip(body() + 100, 0, 255))) == {Flag.NO_AIR}


def test_what_is_not_finite_is_left_to_the_voi() -> None:
    values = body().astype(np.float32)
    values[0] = np.nan
    assert check_hu(scan(values)) == set()
    assert check_hu(scan(np.full_like(values, np.nan))) == set()


@pytest.mark.parametrize(("unit", "factor"), [(1, 1000.0), (3, 0.001)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_lengths_in_other_units_become_mm(
    tmp_path: Path, unit: int, factor: float, kind: Any
) -> None:
    for name, array in (("images", hu_of(SHAPE)), ("masks", mask_of(SHAPE, ONE))):
        affine = AFFINE.copy()
        affine[:3] /= factor
        image = kind(array, affine)
        image.header["xyzt_units"] = unit | 8
        (tmp_path / "raw" / name).mkdir(parents=True, exist_ok=True)
        nib.save(image, tmp_path / "raw" / name / "a.nii")
    row = only_row(run(tmp_path / "raw", tmp_path / "out"))
    assert "units_converted" in row["qc_flags"]
    found = [row[f"spacing_{axis}_mm"] for axis in "xyz"]
    np.testing.assert_allclose(found, (0.8, 0.8, 2.5), rtol=1e-6)


@pytest.mark.parametrize("size_mm", [0.0008, 0.019, 25.1, 800.0])
def test_voxels_that_no_scan_has_are_refused(tmp_path: Path, size_mm: float) -> None:
    put(tmp_path / "raw", "a", affine=np.diag([size_mm, size_mm, size_mm, 1.0]))
    row = only_row(run(tmp_path / "raw", tmp_path / "out"))
    assert row["reason"] == "bad_affine" and f"{size_mm:g}" in row["detail"]
    assert "0.02 to 25 mm" in row["detail"]


def test_a_mask_with_a_value_that_the_recipe_does_not_know_fails(tmp_path: Path) -> None:
    mask = mask_of(SHAPE, ONE)
    mask[0, 0, 0] = 6
    mask[1, 0, 0] = 3
    put(tmp_path / "raw", "a", mask=mask)
    rule = {"rule": "components", "values": [1]}
    row = only_row(run(tmp_path / "raw", tmp_path / "any", {"instances": rule}))
    assert row["status"] == "ok"
    for others in ([], [3], [3, 7]):
        closed = {"instances": {**rule, "others": others}}
        row = only_row(run(tmp_path / "raw", tmp_path / f"out{len(others)}", closed))
        assert row["reason"] == "unexpected_mask_value" and "0, 1, 3, 6" in row["detail"]
    known = {"instances": {**rule, "others": [3, 6]}}
    assert only_row(run(tmp_path / "raw", tmp_path / "known", known))["status"] == "ok"


def test_no_lesion_says_which_values_there_are(tmp_path: Path) -> None:
    mask = 3 * mask_of(SHAPE, ONE)
    put(tmp_path / "raw", "a", mask=mask)
    row = only_row(run(tmp_path / "raw", tmp_path / "out"))
    assert row["reason"] == "no_lesion" and "found 0, 3;" in row["detail"]


def test_every_shipped_recipe_of_mask_values_knows_all_of_them() -> None:
    for name in recipe_names():
        recipe = load_recipe(name).recipe
        if isinstance(recipe.instances, Components) and recipe.reader.name == "volume_pairs":
            assert recipe.instances.others is not None, name
