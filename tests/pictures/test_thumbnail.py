"""A thumbnail shows three planes the right way round, and its numbers survive in it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from uls_data.pictures.thumbnail import (
    PANEL,
    SIZE,
    Planes,
    draw_thumbnail,
    encode_thumbnail,
    thumbnail_numbers,
    thumbnail_path,
)

CLICK = (128, 128, 64)
CUBE = ((118, 118, 54), (139, 139, 75))


def voi(value: int = 0) -> NDArray[Any]:
    return np.full((256, 256, 128), value, np.int16, order="F")


def cube() -> NDArray[Any]:
    mask = np.zeros((256, 256, 128), np.uint8)
    mask[118:139, 118:139, 54:75] = 1
    return mask


def drawn(hu: NDArray[Any], **options: Any) -> NDArray[Any]:
    picture = draw_thumbnail(
        Planes.of(cube()), CUBE, (1, 1, 1), hu=Planes.of(hu), lesion_type="liver", **options
    )
    assert picture.size == SIZE
    return np.array(picture).astype(int)


def panel(picture: NDArray[Any], number: int) -> NDArray[Any]:
    return picture[:, number * (PANEL + 2) :][:, :PANEL]


@pytest.mark.parametrize(
    ("at", "places"),
    # x grows to the patient's right, which lies on the left; y to the front; z to the head.
    [
        ((138, 128, 64), {0: "left", 1: "left"}),
        ((128, 138, 64), {0: "top", 2: "left"}),
        ((128, 128, 74), {1: "top", 2: "top"}),
    ],
)
def test_planes_are_shown_as_radiologists_see_them(
    at: tuple[int, int, int], places: dict[int, str]
) -> None:
    hu = voi(-135)
    hu[tuple(slice(i - 2, i + 3) for i in at)] = 215
    picture = drawn(hu)
    for number, side in places.items():
        bright = panel(picture, number).min(axis=2) > 200
        row, column = np.argwhere(bright).mean(axis=0)
        found = column if side == "left" else row
        other = row if side == "left" else column
        assert found < PANEL * 0.4 < other < PANEL * 0.6


def test_millimetres_are_as_long_in_every_direction() -> None:
    mask = np.zeros((256, 256, 128), np.uint8)
    mask[118:139, 118:139, 62:67] = 1
    picture = np.array(
        draw_thumbnail(Planes.of(mask), ((118, 118, 62), (139, 139, 67)), (1, 1, 4.2))
    ).astype(int)
    for number in range(3):
        blue = panel(picture, number)[:, :, 2] > 150
        rows, columns = np.flatnonzero(blue.any(axis=1)), np.flatnonzero(blue.any(axis=0))
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 2


def test_padding_is_no_tissue_and_lines_and_outline_are_drawn() -> None:
    hu = voi(40)
    hu[:126] = -1025
    points = (119, 128, 137, 128, 128, 119, 128, 137)
    plain = drawn(hu, pad_value_hu=-1025, points=points)
    right = panel(plain, 0)[:, -20:]
    assert (right[:, :, 0] > right[:, :, 1] + 20).all()  # violet, not grey
    left = panel(plain, 0)[:10, :20]
    assert (np.ptp(left, axis=2) == 0).all() and 100 < left.mean() < 150
    first = panel(plain, 0)
    yellow = (first[:, :, 0] > 200) & (first[:, :, 1] > 180) & (first[:, :, 2] < 120)
    assert yellow.sum() > 100
    assert not ((panel(plain, 1)[:, :, 0] > 250) & (panel(plain, 1)[:, :, 1] > 200)).any()
    blue = (first[:, :, 2] > 200) & (first[:, :, 0] < 120)
    assert blue.sum() > 200


def test_a_part_beyond_the_voi_is_dark() -> None:
    mask = np.zeros((256, 256, 128), np.uint8)
    mask[10:246, 128, 64] = 1
    picture = draw_thumbnail(
        Planes.of(mask), ((10, 128, 64), (246, 129, 65)), (1, 1, 1), hu=Planes.of(voi(200))
    )
    coronal = panel(np.array(picture).astype(int), 1)
    assert coronal[2, PANEL // 2].max() < 40 < coronal[PANEL // 2 + 10, PANEL // 2].min()


@given(
    spacing=st.tuples(*[st.floats(0, 1e9) | st.just(float("nan"))] * 3) | st.none(),
    low=st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 127)),
    size=st.tuples(*[st.integers(1, 256)] * 3),
    points=st.none() | st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8),
    pad=st.none() | st.integers(-(2**31), 2**31 - 1),
)
def test_any_geometry_is_drawn(spacing: Any, low: Any, size: Any, points: Any, pad: Any) -> None:
    high = tuple(min(a + n, end) for a, n, end in zip(low, size, (256, 256, 128), strict=True))
    mask = np.zeros((256, 256, 128), np.uint8)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    picture = draw_thumbnail(
        Planes.of(mask), (low, high), spacing, hu=Planes.of(mask), pad_value_hu=pad, points=points
    )
    assert picture.size == SIZE


def test_numbers_survive_and_junk_has_none() -> None:
    numbers = {"fill": 0.93, "voxels": 1234.0, "edge_gain": -0.5}
    data = encode_thumbnail(Image.new("RGB", SIZE), numbers)
    assert data == encode_thumbnail(Image.new("RGB", SIZE), numbers)
    assert thumbnail_numbers(data) == numbers
    assert thumbnail_numbers(data[:100]) is None
    assert thumbnail_numbers(b"<script>") is None
    other = io.BytesIO()
    Image.new("RGB", (10, 10)).save(other, format="JPEG")
    assert thumbnail_numbers(other.getvalue()) is None
    for comment in (b"[1]", b'{"a": "x"}', b'{"a": 1e99}', b"{" * 100000, b""):
        file = io.BytesIO()
        Image.new("RGB", SIZE).save(file, format="JPEG", comment=comment[:60000])
        assert thumbnail_numbers(file.getvalue()) is None


def test_a_thumbnail_lies_beside_its_label() -> None:
    assert thumbnail_path("s/labels/jury/a.nii.gz") == "s/thumbnails/jury/a.jpg"
    assert thumbnail_path("s/labels/a.nii") == "s/thumbnails/a.jpg"
    assert thumbnail_path("LiTS/a.b.nii.gz.zip") == "LiTS/thumbnails/a.b.jpg"
    assert thumbnail_path("../o/s/labels/x/a.nii.gz") == "../o/s/thumbnails/x/a.jpg"
