"""Which voxels a contour holds."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.rtstruct import AFFINE, SERIES, SHAPE, SLICES, SQUARE, contour, fill, mask_of
from numpy.typing import NDArray

from uls_data.dicom import polygons
from uls_data.dicom.rtstruct import Contour, rasterise
from uls_data.errors import CaseError
from uls_data.outcome import Reason


def inside_exactly(polygons: list[Any], shape: tuple[int, ...] = SHAPE) -> NDArray[np.bool_]:
    """Even-odd rule, one voxel and one edge at a time, in rational numbers."""
    mask = np.zeros(shape[:2], dtype=bool)
    for vertices in polygons:
        exact = [(Fraction(x), Fraction(y)) for x, y in vertices]
        for (ax, ay), (bx, by) in zip(exact, exact[1:] + exact[:1], strict=True):
            for row in range(shape[1]):
                if (ay <= row) == (by <= row):
                    continue
                meets = ax + (row - ay) * (bx - ax) / (by - ay)
                for column in range(shape[0]):
                    mask[column, row] ^= meets <= column
    return mask


# Halves and quarters, so that corners and edges often run through voxel centres.
_COORDINATE = st.integers(-12, 80).map(lambda n: n / 4)
_POLYGON = st.lists(st.tuples(_COORDINATE, _COORDINATE), min_size=3, max_size=9)
_POLYGONS = st.lists(_POLYGON, min_size=1, max_size=3, unique_by=str)


@given(_POLYGONS)
def test_same_voxels_as_by_rational_numbers(polygons: list[Any]) -> None:
    filled = rasterise([contour(one) for one in polygons], SHAPE, AFFINE)
    expected = inside_exactly(polygons)
    mask = mask_of(filled)
    assert np.array_equal(mask[..., 2], expected)
    assert not mask[..., [0, 1, 3, 4]].any()
    assert filled.region.voxels.dtype == np.int32
    assert np.array_equal(filled.region.voxels, np.argwhere(mask))  # C order


@given(_POLYGON, st.integers(0, 8), st.booleans(), st.booleans())
def test_where_a_contour_starts_and_which_way_it_runs(
    polygon: list[Any], start: int, backwards: bool, closed: bool
) -> None:
    start %= len(polygon)
    other = polygon[start:] + polygon[:start]
    other = other[::-1] if backwards else other
    other = [*other, other[0]] if closed else other
    assert np.array_equal(fill(polygon), fill(other))


@given(
    st.lists(st.floats(0, 2 * np.pi), min_size=4, max_size=12, unique=True).map(sorted),
    st.floats(0.5, 8),
    st.integers(0, 11),
    st.integers(2, 10),
)
def test_parts_share_no_voxel_and_lose_none(
    angles: list[float], radius: float, first: int, apart: int
) -> None:
    corners = [(8 + radius * np.cos(a), 6 + radius * np.sin(a)) for a in angles]
    first %= len(corners)
    corners = corners[first:] + corners[:first]
    at = 1 + apart % (len(corners) - 2)
    one, other = corners[: at + 1], [corners[0], *corners[at:]]
    parts = [fill(part) if len(part) > 2 else np.zeros(SHAPE[:2], bool) for part in (one, other)]
    assert not (parts[0] & parts[1]).any()
    assert np.array_equal(parts[0] | parts[1], fill(corners))


def test_a_centre_on_the_contour_belongs_to_the_side_of_the_higher_index() -> None:
    square = fill(SQUARE)
    columns, rows = np.nonzero(square)
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (2, 8, 3, 7)
    right = fill([(9, 3), (12, 3), (12, 8), (9, 8)])
    assert not (square & right).any() and right[9, 3:8].all()
    # To the last bit: a rounding error is not allowed to choose the side.
    for angle in (0.1, 0.2, 0.7):
        affine = AFFINE.copy()
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        affine[:2, :2] = turn @ affine[:2, :2]
        turned = rasterise([contour(SQUARE, affine=affine)], SHAPE, affine)
        assert np.array_equal(mask_of(turned)[..., 2], square)


def test_a_centre_on_a_slanted_contour() -> None:
    # 7 * (29 / 7) is more than 29 in double precision.
    shape = (64, 16, 5)
    triangle = [(0, 0), (58, 14), (60, 0)]
    mask = mask_of(rasterise([contour(triangle)], shape, AFFINE), shape)[..., 2]
    assert np.array_equal(mask, inside_exactly([triangle], shape))
    assert mask[29, 7]


def test_holes_drawn_as_contours_or_by_keyholes() -> None:
    inner = [(4, 4), (7, 4), (7, 7), (4, 7)]
    ring = fill(SQUARE, inner)
    assert np.array_equal(ring, fill(SQUARE) & ~fill(inner))
    assert np.array_equal(ring, fill(inner, SQUARE))
    keyhole = [*SQUARE, SQUARE[0], inner[0], *inner[:0:-1], inner[0]]
    assert np.array_equal(ring, fill(keyhole))
    assert np.array_equal(ring, fill(SQUARE, inner, kind="CLOSEDPLANAR_XOR"))
    island = [(5, 5), (6, 5), (6, 6), (5, 6)]
    assert fill(SQUARE, island, inner)[5, 5]


def counts(*contours: Contour, sop_uids: list[str] | None = None) -> dict[str, Any]:
    filled = rasterise(contours, SHAPE, AFFINE, sop_uids or [])
    found = {key: value for key, value in vars(filled).items() if key != "region" and value}
    return {**found, "voxels": len(filled.region.voxels)}


def test_what_becomes_of_each_contour() -> None:
    assert counts() == {"voxels": 0}
    assert counts(contour(SQUARE)) == {"drawn": 1, "voxels": 35}
    assert counts(contour(SQUARE, 2.09)) == {"drawn": 1, "voxels": 35}
    far = {"farthest_mm": pytest.approx(0.11 * 2.5)}
    assert counts(contour(SQUARE, 2.11)) == {"off_slice": 1, "voxels": 0, **far}
    # Less than half a step from the slice that it names, a contour is that slice's.
    for at, there in ((2.11, 1), (1.6, 1), (2.49, 1), (2.51, 0), (1.4, 0)):
        named = counts(contour(SQUARE, at, sop_uid=SLICES[2]), sop_uids=SLICES)
        assert named.get("moved", 0) == there and bool(named["voxels"]) == bool(there)
    tilted = [(x, y, 2 + 0.05 * x) for x, y in SQUARE]
    assert counts(contour(tilted))["off_slice"] == 1
    beyond_ends = counts(contour(SQUARE, 5), contour(SQUARE, -1))
    assert beyond_ends == {"off_slice": 2, "voxels": 0, "farthest_mm": pytest.approx(2.5)}
    assert counts(contour(SQUARE), contour(SQUARE)) == {"drawn": 1, "repeated": 1, "voxels": 35}
    across = [(x + 3, y) for x, y in SQUARE]
    assert counts(contour(SQUARE), contour(across)) == {"drawn": 2, "crossing": 1, "voxels": 30}
    hole = [(4, 4), (7, 4), (7, 7), (4, 7)]
    assert counts(contour(hole), contour(SQUARE)) == {"drawn": 2, "voxels": 26}
    beside = [(x - 5, y) for x, y in SQUARE]
    assert counts(contour(beside)) == {"drawn": 1, "cut": 1, "voxels": 20}
    beyond = [(x + 30, y) for x, y in SQUARE]
    assert counts(contour(beyond)) == {"drawn": 1, "cut": 1, "voxels": 0}
    kinds = ("POINT", "OPEN_PLANAR", "OTHER")
    others = [contour(SQUARE, kind=kind) for kind in kinds] + [contour(SQUARE[:2])]
    skipped = {"POINT": 1, "OPEN_PLANAR": 1, "OTHER": 1, "CLOSED_PLANAR": 1}
    assert counts(*others) == {"skipped": skipped, "voxels": 0}
    named = [contour(SQUARE, 2, sop_uid=uid) for uid in (SLICES[2], f"{SERIES}.77")]
    assert "on_other_slice" not in counts(*named, sop_uids=SLICES)
    assert "on_other_slice" not in counts(contour(SQUARE), sop_uids=["", "", "x"])
    wrong = contour(SQUARE, 2, sop_uid=SLICES[3])
    assert counts(wrong, sop_uids=SLICES)["on_other_slice"] == 1


def test_the_box_is_the_smallest() -> None:
    region = rasterise([contour(SQUARE, 1), contour(SQUARE[:3], 3)], SHAPE, AFFINE).region
    assert region.start == (2, 3, 1)
    assert region.mask.shape == (7, 5, 3)


def test_contours_of_another_scan_or_beyond_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CaseError, match="another scan") as caught:
        rasterise([contour([(x * 1e6, y) for x, y in SQUARE])], SHAPE, AFFINE)
    assert caught.value.reason is Reason.ANNOTATION_MISMATCH
    for limit, most in (("_MAXIMUM_CROSSINGS", 9), ("_MAXIMUM_FILLED_VOXELS", 34)):
        with monkeypatch.context() as patch:
            patch.setattr(polygons, limit, most)
            with pytest.raises(CaseError) as caught:
                rasterise([contour(SQUARE)], SHAPE, AFFINE)
            assert caught.value.reason is Reason.TOO_LARGE


@given(_POLYGON)
def test_large_contours_are_filled_in_parts(polygon: list[Any]) -> None:
    whole = fill(polygon)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(polygons, "_CROSSINGS_AT_ONCE", 1)
        assert np.array_equal(fill(polygon), whole)
