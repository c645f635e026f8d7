"""What the network sees: axis order, normalisation, padding, and which voxels count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.vois import ball, write_voi

from uls_data.errors import CaseError
from uls_data.manifest.example import Example
from uls_data.network.plan import Intensities, load_plan
from uls_data.network.voxels import (
    LESION,
    SUPERVISED,
    VALID,
    Fingerprint,
    Region,
    image_of,
    read_image,
    read_region,
    voi_part,
)

PAPER = load_plan("baseline").intensities
assert isinstance(PAPER, Intensities)


@pytest.fixture(scope="module")
def weak(tmp_path_factory: pytest.TempPathFactory) -> Example:
    out = tmp_path_factory.mktemp("weak")
    row = write_voi(out, "w", 10, 40, supervision="weak_2d", key_slice_voi=64)
    return Example(out, row)


def test_axes_and_normalisation() -> None:
    random = np.random.default_rng(1)
    hu = random.integers(-2000, 3000, (256, 256, 128)).astype(np.int16)
    region = voi_part(hu, {"pad_value_hu": None})
    image = image_of(region, PAPER)
    assert image.shape == (128, 256, 256) and image.dtype == np.float32
    expected = (np.clip(hu.astype(np.float64), -910, 1672) - 21.7) / 331.6
    np.testing.assert_allclose(image, expected.transpose(2, 1, 0), atol=1e-5)
    assert region.click == (64, 128, 128)


def test_padding_is_no_tissue(weak: Example) -> None:
    image = read_image(weak)
    assert (image.marks[:88] == VALID).all() and (image.marks[88:] == 0).all()
    lowest = (PAPER.percentile_00_5 - PAPER.mean) / PAPER.std
    np.testing.assert_allclose(image_of(image, PAPER)[88:], lowest, atol=1e-6)
    part = read_image(weak, (64, 32, 32))
    np.testing.assert_array_equal(part.marks, image.marks[32:96, 112:144, 112:144])
    np.testing.assert_array_equal(part.hu, image.hu[32:96, 112:144, 112:144])
    # Without extents the sentinel tells.
    names = [name for name in weak.row if name.startswith(("pad_before", "pad_after"))]
    blind = Example(weak.root, {**weak.row, **dict.fromkeys(names)})
    np.testing.assert_array_equal(read_image(blind).marks, image.marks)


@pytest.mark.parametrize("mode", ["ignore", "background"])
def test_slices_that_nobody_annotated(weak: Example, mode: Any) -> None:
    marks = read_region(weak, mode).marks
    known = (marks & SUPERVISED) != 0
    np.testing.assert_array_equal((marks[64] & LESION) != 0, ball(10)[:, :, 64].T == 1)
    assert known[64].all()
    off = np.ones(128, bool)
    off[64] = False
    assert not ((marks[off] & LESION) != 0).any()
    if mode == "ignore":
        assert not known[off].any()
    else:
        assert known.all()


def test_full_masks_speak_of_every_voxel(tmp_path: Path) -> None:
    region = read_region(Example(tmp_path, write_voi(tmp_path, "f", 10)), "ignore", (16, 32, 32))
    assert ((region.marks & SUPERVISED) != 0).all()
    mask = ball(10).T[56:72, 112:144, 112:144]
    np.testing.assert_array_equal((region.marks & LESION) != 0, mask == 1)


def test_what_lies_apart_is_unknown_where_only_targets_are_annotated(tmp_path: Path) -> None:
    row = write_voi(tmp_path, "t", 10, annotation_scope="target", spacing_z_mm=5.0)
    region = read_region(Example(tmp_path, row), "ignore")
    known = (region.marks & SUPERVISED) != 0
    # A ball of 10 voxels in x and y and 5 in z, and 10 mm about it.
    box = np.zeros(known.shape, bool)
    box[57:72, 108:149, 108:149] = True
    np.testing.assert_array_equal(known, box)
    assert ((region.marks & LESION) != 0)[known].sum() == ball(10).sum()
    assert ((read_region(Example(tmp_path, row), "background").marks & SUPERVISED) != 0).all()
    weak: dict[str, Any] = {"supervision": "weak_2d", "key_slice_voi": 64}
    flat = write_voi(tmp_path, "w", 10, annotation_scope="target", **weak)
    known = (read_region(Example(tmp_path, flat), "ignore").marks & SUPERVISED) != 0
    assert known[64, 108:149, 108:149].all()
    assert known.sum() == 41 * 41
    others = write_voi(tmp_path, "o", 10, annotation_scope="some")
    assert ((read_region(Example(tmp_path, others), "ignore").marks & SUPERVISED) != 0).all()


def test_a_loss_says_nothing_of_what_is_unknown(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from uls_data.network.loss import dice_ce

    row = write_voi(tmp_path, "t", 10, annotation_scope="target")
    region = read_region(Example(tmp_path, row), "ignore", (64, 64, 64))
    marks = torch.from_numpy(region.marks)[None, None]
    lesion, known = ((marks & bit != 0).float() for bit in (LESION, SUPERVISED))
    logits = torch.zeros(1, 2, 64, 64, 64)
    neighbour = logits.clone()
    neighbour[:, 1, :8, :8, :8] = 5.0  # far from the lesion, in a corner
    assert known[0, 0, :8, :8, :8].sum() == 0
    assert dice_ce(neighbour, lesion, known) == dice_ce(logits, lesion, known)
    everywhere = torch.ones_like(known)
    assert dice_ce(neighbour, lesion, everywhere) > dice_ce(logits, lesion, everywhere)


@given(st.data())
def test_cut_is_a_pad_and_a_slice(data: st.DataObject) -> None:
    size = st.integers(1, 7)
    shape = data.draw(st.tuples(size, size, size))
    wanted = data.draw(st.tuples(size, size, size))
    centre = data.draw(st.tuples(*(st.integers(0, n - 1) for n in shape)))
    random = np.random.default_rng(0)
    hu = random.integers(-99, 99, shape).astype(np.int16)
    marks = random.integers(0, 8, shape).astype(np.uint8)
    part = Region(hu, marks, centre).cut(centre, wanted)
    box = tuple(
        slice(at - n // 2 + 9, at - n // 2 + 9 + n) for at, n in zip(centre, wanted, strict=True)
    )
    np.testing.assert_array_equal(part.hu, np.pad(hu, 9)[box])
    np.testing.assert_array_equal(part.marks, np.pad(marks, 9, constant_values=SUPERVISED)[box])
    assert part.hu[part.click] == hu[centre]


@given(st.lists(st.lists(st.integers(-1100, 3000), min_size=1, max_size=40), min_size=1))
def test_fingerprint_by_hand(vois: list[list[int]]) -> None:
    fingerprint = Fingerprint()
    for values in vois:
        # Padding and tissue about the lesion are there, and never counted.
        hu = np.array([*values, -5000, 400], np.int16).reshape(1, 1, -1)
        marks = np.full(hu.shape, VALID | LESION, np.uint8)
        marks[0, 0, -2:] = LESION, VALID
        fingerprint.add(Region(hu, marks, (0, 0, 0)))
    found = fingerprint.intensities()
    # Each VOI weighs the same: as if its voxels were repeated up to a common count.
    share = np.concatenate([np.full(len(v), 1 / len(v)) for v in vois]) / len(vois)
    hu_all = np.concatenate([np.array(v, np.float64) for v in vois])
    mean = (share * hu_all).sum()
    assert found.mean == pytest.approx(mean, abs=1e-3)
    spread = np.sqrt((share * (hu_all - mean) ** 2).sum())
    assert found.std == pytest.approx(max(spread, 1), abs=1e-3)
    assert (found.min, found.max) == (hu_all.min(), hu_all.max())
    below = share[hu_all < found.median].sum()
    upto = share[hu_all <= found.median].sum()
    assert below <= 0.5 + 1e-9 and upto >= 0.5 - 1e-9


def test_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    row = write_voi(tmp_path, "a")
    for changes, reason in [
        ({"image_path": "s/none.nii"}, "image_missing"),
        ({"label_path": "s/none.nii"}, "mask_missing"),
        ({"image_path": "../a.nii.gz"}, "image_missing"),
        ({"image_path": "/etc/passwd"}, "path_leaves_root"),
    ]:
        with pytest.raises(CaseError) as caught:
            read_region(Example(tmp_path, {**row, **changes}), "ignore")
        assert caught.value.reason == reason
