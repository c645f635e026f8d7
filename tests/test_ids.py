"""Names, hashes and the files that carry them."""

from __future__ import annotations

import gzip as standard_gzip
import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from uls_data.ids import check_voi_pattern, hash_of, voi_fragment, voi_id, voi_id_regex
from uls_data.io import (
    TEMPORARY_PREFIX,
    atomic_write,
    gzip,
    remove_temporaries,
    sha256_bytes,
    sha256_file,
    sha256_voxels,
    write_bytes,
)
from uls_data.recipe import load_recipe, recipe_names

PUBLISHED = {
    "kits21": ("case_00000", 1, "kidney21_case_00000_lesion_01_sample_0"),
    "lits": ("0", 1, "liver_0_lesion_01_sample_0"),
    "lidc_idri": ("100", 1, "lidcidri_100_lesion_01_sample_0"),
    "mdsc_lung": ("lung_001", 3, "lung_001_lesion_03_sample_0"),
    "nih_ln_abd": ("ABD_LYMPH_001", 1, "ABD_LYMPH_001_lesion_01_sample_0"),
    "radboudumc_bone": ("bone_00002", 1, "bone_00002_lesion_01"),
    "radboudumc_pancreas": ("diag_pancreas_0004", 1, "diag_pancreas_0004_lesion_01"),
    "deeplesion3d": ("000010_02_02_100", 1, "000010_02_02_100_lesion_01"),
    "deeplesion": ("000001_01_01_109", 1, "000001_01_01_109_sample_0"),
    "ccc18": ("ccc18_0000", 1, "ccc18_0000_sample_0"),
}


@pytest.mark.parametrize("source", sorted(PUBLISHED))
def test_names_are_the_published_ones(source: str) -> None:
    case, lesion, name = PUBLISHED[source]
    recipe = load_recipe(source).recipe
    assert voi_id(recipe.voi_name, case, lesion, 0) == name
    match = recipe.voi_regex().fullmatch(name)
    assert match is not None and match["case"] == case


@pytest.mark.parametrize("source", recipe_names())
@given(data=st.data())
def test_a_name_gives_back_what_it_was_made_of(source: str, data: st.DataObject) -> None:
    recipe = load_recipe(source).recipe
    case = data.draw(st.from_regex(re.compile(recipe.reader.case, re.ASCII), fullmatch=True))
    lesion = data.draw(st.integers(1, 12_000))
    sample = data.draw(st.integers(0, 120))
    name = voi_id(recipe.voi_name, case, lesion, sample)
    match = recipe.voi_regex().fullmatch(name)
    assert match is not None
    found = match.groupdict()
    assert found["case"] == case
    assert int(found["sample"] or 0) == sample
    assert int(found["lesion"] or 1) == lesion
    assert recipe.voi_regex().fullmatch(name + "x") is None
    assert Path(name).name == name


_VOI = st.tuples(st.text("a01_x", min_size=1), st.integers(1, 130), st.integers(0, 130))


@given(
    pattern=st.sampled_from(
        ["{case}_{lesion}_{sample}", "{lesion:02d}_{case}x{sample}", "{sample}_1{case}_{lesion}"]
    ),
    one=_VOI,
    other=_VOI,
)
def test_no_two_vois_get_one_name(
    pattern: str, one: tuple[str, int, int], other: tuple[str, int, int]
) -> None:
    check_voi_pattern(pattern)
    assert (voi_id(pattern, *one) == voi_id(pattern, *other)) == (one == other)


def test_names_without_a_sample_gain_one_after_the_first_click() -> None:
    pattern = "{case}_lesion_{lesion:02d}"
    names = [voi_id(pattern, "bone_00002", 7, sample) for sample in (0, 1, 12)]
    stem = "bone_00002_lesion_07"
    assert names == [stem, f"{stem}_sample_1", f"{stem}_sample_12"]
    samples = [voi_id_regex(pattern, r"bone_\d{5}").fullmatch(name)["sample"] for name in names]
    assert samples == [None, "1", "12"]
    with_sample = pattern + "_sample_{sample}"
    assert voi_id(with_sample, "c", 7, 0) == "c_lesion_07_sample_0"
    assert voi_id(with_sample, "c", 123, 2) == "c_lesion_123_sample_2"


def test_what_looks_like_a_pattern_in_a_case_or_a_recipe_is_text() -> None:
    assert voi_id("{case}_{lesion:02d}", "{lesion}", 1, 0) == "{lesion}_01"
    regex = voi_id_regex("a.b+{case}_{lesion}_{sample}", "[xy]+")
    assert regex.fullmatch("a.b+xy_1_0")
    assert not regex.fullmatch("aXb+xy_1_0")
    assert not regex.fullmatch("a.bbxy_1_0")


voxels_strategy = hnp.arrays(
    np.int16, st.tuples(*[st.integers(1, 4)] * 3), elements=st.integers(-2000, 4000)
)


@given(voxels_strategy)
def test_voxel_hashes_know_voxels_and_shape_alone(voxels: NDArray[np.int16]) -> None:
    expected = sha256_voxels(voxels)
    for dtype in ("<i2", ">i2", "<i4", ">i4", "i8"):
        for order in ("C", "F"):
            assert sha256_voxels(voxels.astype(dtype, order=order)) == expected
    assert sha256_voxels(np.repeat(voxels, 2, axis=1)[:, ::2]) == expected
    assert sha256_voxels(voxels, (int(voxels.min()), int(voxels.max()))) == expected
    turned = np.ascontiguousarray(voxels[::-1, :, ::-1])
    assert sha256_voxels(turned[::-1, :, ::-1]) == expected


@given(voxels_strategy, st.data())
def test_another_voxel_is_another_hash(voxels: NDArray[np.int16], data: st.DataObject) -> None:
    other = voxels.copy()
    at = tuple(data.draw(st.integers(0, n - 1)) for n in voxels.shape)
    other[at] += 1
    assert sha256_voxels(other) != sha256_voxels(voxels)


def test_another_shape_is_another_hash() -> None:
    flat = np.arange(24, dtype=np.uint8)
    shapes = [(2, 3, 4), (4, 3, 2), (3, 2, 4), (24, 1, 1), (1, 1, 24)]
    assert len({sha256_voxels(flat.reshape(shape, order="F")) for shape in shapes}) == len(shapes)


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ([0, 1, 255], "u1"),
        ([0, 1, 256], "<i2"),
        ([-1, 0, 255], "<i2"),
        ([-32768, 0, 32767], "<i2"),
        ([0, 1, 32768], "<i4"),
        ([-32769, 0, 1], "<i4"),
    ],
)
def test_voxel_hashes_are_as_documented(values: list[int], stored: str) -> None:
    # Anyone can compute it again from the docstring, in any language.
    voxels = np.array(values, dtype=np.int64).reshape(3, 1, 1)
    plain = b"3,1,1\n" + np.array(values).astype(stored).tobytes()
    assert sha256_voxels(voxels) == hashlib.sha256(plain).hexdigest()
    mixed = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    plain = b"2,3,4\n" + mixed.tobytes(order="F")
    assert sha256_voxels(mixed) == hashlib.sha256(plain).hexdigest()


@pytest.mark.parametrize("zeros", [0, 1 << 20, (3 << 20) - 1, 3 << 20, 20 << 20])
def test_zeros_at_the_start_of_a_label_count(zeros: int) -> None:
    label = np.zeros((1 << 10, 1 << 10, 20), np.uint8, order="F")
    label.ravel(order="K")[zeros:] = 1
    data = b"1024,1024,20\n" + bytes(zeros) + b"\1" * (label.size - zeros)
    assert sha256_voxels(label) == hashlib.sha256(data).hexdigest()
    assert (
        sha256_voxels(label[:, :, :5])
        == hashlib.sha256(b"1024,1024,5\n" + data[13 : 13 + (5 << 20)]).hexdigest()
    )


def test_a_list_hashes_by_item_and_order() -> None:
    hashes = {hash_of(items) for items in (["a", "b"], ["b", "a"], ["ab"], ["a"], ["a", "", "b"])}
    assert len(hashes) == 5
    assert hash_of(iter(["a", "b"])) == hashlib.sha256(b"a\nb\n").hexdigest()


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "voi.nii.gz"
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"one")
        assert temporary.parent == path.parent  # or the rename would copy
        assert not path.exists()
    write_bytes(path, bytearray(b"two"))
    assert tree(tmp_path) == {"voi.nii.gz": b"two"}
    assert sha256_file(path) == sha256_bytes(b"two") == hashlib.sha256(b"two").hexdigest()


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("written", [b"half", None])
def test_an_exception_leaves_nothing_behind_and_the_old_file_alone(
    tmp_path: Path, error: Any, written: bytes | None
) -> None:
    path = tmp_path / "manifest.parquet"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_write(path) as temporary:
        if written is not None:
            temporary.write_bytes(written)
        raise error
    assert tree(tmp_path) == {"manifest.parquet": b"old"}


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    keep = tmp_path / f"a{TEMPORARY_PREFIX}b.nii.gz"
    write_bytes(keep, b"x")
    with pytest.raises(RuntimeError), atomic_write(tmp_path / "voi") as temporary:
        temporary.write_bytes(b"half")
        copy = temporary.rename(temporary.with_name(temporary.name + "2"))
        raise RuntimeError
    assert copy.exists()
    write_bytes(tmp_path / f"{TEMPORARY_PREFIX}run" / "attempt" / "0", b"half")
    (tmp_path / f"{TEMPORARY_PREFIX}link").symlink_to(tmp_path.parent)
    remove_temporaries(tmp_path)
    assert tree(tmp_path) == {keep.name: b"x"}


@given(st.binary(max_size=4000))
def test_gzip_gives_the_same_bytes_for_the_same_data(data: bytes) -> None:
    packed = gzip(data)
    assert packed == gzip(bytearray(data))
    assert standard_gzip.decompress(packed) == data
    assert (packed[:3], packed[3], packed[4:8]) == (b"\x1f\x8b\x08", 0, bytes(4))


@pytest.mark.parametrize("pattern", ["{case}_sample_{sample}", "{case}"])
@pytest.mark.parametrize("lesion", [1, 2, 117])
@pytest.mark.parametrize("sample", [0, 3])
def test_further_lesions_of_a_weak_case_have_names(pattern: str, lesion: int, sample: int) -> None:
    name = voi_id(pattern, "000001_01_01_109", lesion, sample)
    assert ("lesion" in name) == (lesion > 1)
    match = voi_id_regex(pattern, r"\d{6}_\d{2}_\d{2}_\d{3,}").fullmatch(name)
    assert match is not None
    assert match["case"] == "000001_01_01_109"
    assert int(match["lesion"] or 1) == lesion
    assert int(match["sample"] or 0) == sample


def test_what_opens_triage_at_a_lesion() -> None:
    assert voi_fragment("kits21", "case 1/é_lesion_01", "jury") == (
        "#kits21/case%201%2F%C3%A9_lesion_01/jury"
    )
    assert voi_fragment("s", "v") == "#s/v"
