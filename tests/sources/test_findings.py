"""Marks of several readers joined into lesions."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.lesions.components import components_of
from uls_data.lesions.instances import Lesion
from uls_data.outcome import Reason
from uls_data.sources.lndb.lesions import Joined, NumberBy, ReaderRule, join_findings
from uls_data.sources.lndb.marks import MAXIMUM_MARKED_VOXELS, marks_of
from uls_data.sources.lndb.table import SENTINEL_VOLUME_MM3, Finding, MergedFinding
from uls_data.volumes.volume import Volume

SHAPE = (12, 10, 8)
SPACING = np.diag([0.7, 0.7, 1.0, 1.0])
Box = tuple[slice, slice, slice]


def volume(labels: NDArray[Any], affine: NDArray[Any] = SPACING) -> Volume:
    """A label map that is stored in RAS order."""
    return Volume(np.asfortranarray(labels), affine, 1.0, 0.0, "", ())


def mask(*marks: tuple[int, Box]) -> Volume:
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for value, box in marks:
        labels[box] = value
    return volume(labels)


def box(x: int, y: int = 2, z: int = 2, size: int = 2) -> Box:
    return slice(x, x + size), slice(y, y + size), slice(z, z + size)


def finding(
    reader: int,
    number: int,
    centre: tuple[float, float, float] = (0, 0, 0),
    *,
    nodule: bool = True,
    small: bool = False,
) -> Finding:
    """A row; its centre is an index of the RAS array."""
    x, y, z = geometry.to_mm(SPACING, np.array(centre))
    mm3 = SENTINEL_VOLUME_MM3 if small or not nodule else 100.0
    return Finding(1, reader, number, -x, -y, z, nodule, mm3, 5.0)


def joined(number: int, *rows: Finding) -> MergedFinding:
    readers = tuple(row.rad_id for row in rows)
    level = len({row.rad_id for row in rows if row.is_nodule})
    numbers = tuple(row.finding_id for row in rows)
    return MergedFinding(1, number, readers, numbers, 0, 0, 0, level, 100, 5)


def join(
    masks: dict[int, Volume], groups: dict[int, list[Finding]], **options: Any
) -> tuple[dict[str | None, Lesion], dict[str | None, Reason], Joined]:
    """Lesions and skipped marks by what the source calls them."""
    rows = [row for group in groups.values() for row in group]
    merged = [joined(number, *group) for number, group in groups.items()]
    result = join_findings(masks, rows, merged, **options)
    lesions = {lesion.source_lesion_id: lesion for lesion in result.lesions}
    assert len(lesions) == len(result.lesions)
    return lesions, {mark.source_lesion_id: mark.reason for mark in result.marks}, result


def voxels(lesion: Lesion) -> set[tuple[int, ...]]:
    assert lesion.voxels.dtype == np.int32
    return set(map(tuple, lesion.voxels.tolist()))


def inside(*boxes: Box) -> set[tuple[int, ...]]:
    marked = np.zeros(SHAPE, dtype=bool)
    for one in boxes:
        marked[one] = True
    return set(map(tuple, np.argwhere(marked).tolist()))


TWO = {1: mask((4, box(3))), 2: mask((9, box(4)))}
TWO_ROWS = {7: [finding(1, 4, (4, 3, 3)), finding(2, 9, (5, 3, 3))]}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (ReaderRule.UNION, inside(box(3), box(4))),
        (ReaderRule.MAJORITY, inside(box(3)) & inside(box(4))),
        (ReaderRule.FIRST, inside(box(3))),
    ],
)
def test_rules_of_two_readers(rule: ReaderRule, expected: set[tuple[int, ...]]) -> None:
    lesions, skipped, result = join(TWO, TWO_ROWS, rule=rule)
    (lesion,) = lesions.values()
    assert voxels(lesion) == expected
    assert lesion.source_lesion_id == "7"
    assert (lesion.index, lesion.agreement) == (1, 2)
    layers = {name: set(map(tuple, v.tolist())) for name, v in lesion.readers}
    assert layers == {"reader-1": inside(box(3)), "reader-2": inside(box(4))}
    assert lesion.scores == (("reader-1/reader-2", "dice", 0.5),)
    assert not skipped
    assert result.misplaced == ()


def test_each_reader_alone() -> None:
    lesions, _, _ = join(TWO, TWO_ROWS, rule=ReaderRule.EACH)
    assert {name: lesion.index for name, lesion in lesions.items()} == {
        "7@reader-1": 1,
        "7@reader-2": 2,
    }
    assert voxels(lesions["7@reader-2"]) == inside(box(4))


def test_majority_of_three() -> None:
    masks = {1: mask((1, box(3))), 2: mask((1, box(4))), 3: mask((1, box(4, 3)))}
    rows = {1: [finding(1, 1), finding(2, 1), finding(3, 1)]}
    lesions, _, _ = join(masks, rows, rule=ReaderRule.MAJORITY)
    marks = [inside(box(3)), inside(box(4)), inside(box(4, 3))]
    expected = {v for v in set.union(*marks) if sum(v in mark for mark in marks) >= 2}
    assert voxels(lesions["1"]) == expected
    assert len(lesions["1"].scores) >= 3


def test_no_voxel_of_most_readers() -> None:
    masks = {1: mask((1, box(2))), 2: mask((1, box(4)))}  # they touch, and share nothing
    rows = {1: [finding(1, 1), finding(2, 1)]}
    lesions, skipped, _ = join(masks, rows, rule=ReaderRule.MAJORITY)
    assert (lesions, skipped) == ({}, {"1": Reason.BELOW_AGREEMENT})


def test_equal_values_of_two_readers_are_unrelated() -> None:
    masks = {1: mask((1, box(1)), (2, box(6))), 2: mask((1, box(6)), (2, box(1)))}
    rows = {
        1: [finding(1, 1), finding(2, 2)],
        2: [finding(1, 2), finding(2, 1)],
    }
    lesions, _, _ = join(masks, rows)
    assert voxels(lesions["1"]) == inside(box(1))
    assert voxels(lesions["2"]) == inside(box(6))
    assert [lesion.index for lesion in lesions.values()] == [1, 2]


def test_every_mark_has_a_number_and_only_nodules_a_lesion() -> None:
    """Non-nodules, centres and unknown values take their place in the numbering."""
    masks = {
        1: mask((1, box(0)), (2, box(3, size=1)), (3, box(8))),
        2: mask((1, box(10, 7)), (5, box(5, 5))),
    }
    rows = {
        1: [finding(1, 1, nodule=False)],
        2: [finding(1, 2, small=True)],
        3: [finding(1, 3)],
        4: [finding(2, 1)],
        5: [finding(2, 2, small=True)],
        6: [finding(2, 3)],
    }
    lesions, skipped, _ = join(masks, rows)
    assert {name: lesion.index for name, lesion in lesions.items()} == {"3": 4, "4": 5}
    assert skipped == {
        "1": Reason.NOT_A_NODULE,
        "2": Reason.POINT_MARK,  # a centre, one voxel
        "5": Reason.POINT_MARK,  # no voxel at all
        "6@reader-2": Reason.ANNOTATION_MISMATCH,  # measured, and not in the mask
        "value-5@reader-2": Reason.ANNOTATION_MISMATCH,  # in the mask, and in no table
    }


def test_a_small_nodule_with_an_outline_is_a_lesion() -> None:
    lesions, skipped, _ = join({1: mask((1, box(3)))}, {1: [finding(1, 1, small=True)]})
    assert (set(lesions), skipped) == ({"1"}, {})


def test_a_reader_who_calls_it_no_nodule_does_not_count() -> None:
    rows = {7: [finding(1, 4), finding(2, 9, nodule=False)]}
    lesions, _, _ = join(TWO, rows)
    assert voxels(lesions["7"]) == inside(box(3))
    assert lesions["7"].agreement == 1
    assert [name for name, _ in lesions["7"].readers] == ["reader-1"]


def test_one_reader_lacks_a_measured_nodule() -> None:
    masks = {1: mask((4, box(3))), 2: mask()}
    lesions, skipped, _ = join(masks, TWO_ROWS)
    assert voxels(lesions["7"]) == inside(box(3))
    assert lesions["7"].agreement == 2
    assert skipped == {"7@reader-2": Reason.ANNOTATION_MISMATCH}


def test_agreement_below_what_is_wanted() -> None:
    rows = {**TWO_ROWS, 8: [finding(1, 5)]}
    masks = {1: mask((4, box(3)), (5, box(8))), 2: TWO[2]}
    lesions, skipped, _ = join(masks, rows, at_least=2)
    assert (set(lesions), skipped) == ({"7"}, {"8": Reason.BELOW_AGREEMENT})
    assert lesions["7"].index == 1


def test_nodules_that_touch_and_a_nodule_in_two_pieces() -> None:
    masks = {1: mask((1, box(1)), (2, box(3)), (3, box(8, 0)), (3, box(8, 6)))}
    rows = {n: [finding(1, n)] for n in (1, 2, 3)}
    result = join_findings(
        masks, [r for g in rows.values() for r in g], [joined(n, *g) for n, g in rows.items()]
    )
    assert [(one.index, one.source_lesion_id) for one in result.lesions] == [
        (1, "1+2"),
        (2, "3"),
        (3, "3"),
    ]
    by_finding, _, _ = join(masks, rows, number_by=NumberBy.FINDING)
    assert [one.index for one in by_finding.values()] == [1, 2, 3]
    assert voxels(by_finding["3"]) == inside(box(8, 0), box(8, 6))


def test_a_centre_away_from_its_mask_is_a_warning() -> None:
    far = finding(1, 4, (11, 3, 3))  # ten voxels of 0.7 mm behind the last one
    lesions, skipped, result = join({1: mask((4, box(0)))}, {1: [far]})
    assert skipped == {}
    (found,) = result.misplaced
    assert (found.rad_id, found.finding_id) == (1, 4)
    assert found.distance_mm == pytest.approx(7.0)
    assert lesions["1"].scores == (("reader-1", "centre_off_mask_mm", pytest.approx(7.0)),)
    near = finding(1, 4, (5, 3, 3))  # 2.8 mm
    assert join({1: mask((4, box(0)))}, {1: [near]})[2].misplaced == ()


def test_masks_that_cannot_be_used() -> None:
    small = volume(np.zeros((4, 4, 4), dtype=np.uint8))
    moved = volume(np.zeros(SHAPE, dtype=np.uint8), geometry.shifted(SPACING, (1, 0, 0)))
    for masks, reason in (
        ({}, Reason.MASK_MISSING),
        ({1: mask(), 2: small}, Reason.GRID_MISMATCH),
        ({1: mask(), 2: moved}, Reason.GRID_MISMATCH),
        ({1: volume(np.full(SHAPE, 0.5))}, Reason.MASK_NOT_INTEGER),
        ({1: volume(np.full(SHAPE, -1, dtype=np.int16))}, Reason.MASK_NOT_INTEGER),
        ({1: volume(np.full(SHAPE, 256, dtype=np.int16))}, Reason.MASK_NOT_INTEGER),
    ):
        with pytest.raises(CaseError) as caught:
            join_findings(masks, [], [])
        assert caught.value.reason is reason


def test_more_marks_than_nodules_can_fill() -> None:
    side = round(MAXIMUM_MARKED_VOXELS ** (1 / 3)) + 1
    with pytest.raises(CaseError, match="too_large"):
        marks_of(volume(np.ones((side, side, side), dtype=np.uint8)), "mask")


def test_empty_masks() -> None:
    assert join_findings({1: mask(), 2: mask()}, [], []) == Joined((), (), ())


labels = st.lists(st.integers(0, 3), min_size=60, max_size=60).map(
    lambda values: np.array(values, dtype=np.uint8).reshape(3, 4, 5)
)


@given(labels)
def test_components_are_those_of_scipy(marked: NDArray[np.uint8]) -> None:
    where = np.flatnonzero(marked)  # C order
    expected, _ = ndimage.label(marked)
    assert np.array_equal(components_of(where, marked.shape), expected.ravel()[where])


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 40), (40, 1, 1), (2, 41, 2)])
def test_components_of_snakes(shape: tuple[int, int, int]) -> None:
    where = np.arange(np.prod(shape))
    assert np.array_equal(components_of(where, shape), np.ones(len(where)))
    far = where[:: shape[2] + 1] if shape[2] > 1 else where[:1]
    expected, _ = ndimage.label(np.isin(where, far).reshape(shape))
    assert np.array_equal(components_of(far, shape), expected.ravel()[far])


@given(labels, labels, st.sampled_from(list(ReaderRule)))
def test_against_plain_sets(
    one: NDArray[np.uint8], other: NDArray[np.uint8], rule: ReaderRule
) -> None:
    """Value 1 of both readers is one nodule, 2 is a nodule of its own, 3 is none."""
    rows = {
        1: [finding(1, 1), finding(2, 1)],
        2: [finding(1, 2)],
        3: [finding(2, 2)],
        4: [finding(1, 3, nodule=False), finding(2, 3, nodule=False)],
    }
    found = join_findings(
        {1: volume(one), 2: volume(other)},
        [row for group in rows.values() for row in group],
        [joined(number, *group) for number, group in rows.items()],
        rule=rule,
    )
    component, count = ndimage.label((one != 0) | (other != 0))
    expected = []
    for number in range(1, count + 1):
        by_reader = [(m == 1) | (m == 2) for m in (one, other)]
        layers = [mine & (component == number) for mine in by_reader]
        layers = [layer for layer in layers if layer.any()]
        if not layers:
            continue
        votes = np.sum(layers, axis=0)
        match rule:
            case ReaderRule.UNION:
                kept = [votes > 0]
            case ReaderRule.MAJORITY:
                kept = [2 * votes > len(layers)]
            case ReaderRule.FIRST:
                kept = layers[:1]
            case ReaderRule.EACH:
                kept = layers
        expected += [(number, np.argwhere(k)) for k in kept if k.any()]
    assert len(found.lesions) == len(expected)
    for rank, (lesion, (number, where)) in enumerate(zip(found.lesions, expected, strict=True), 1):
        assert lesion.index == (rank if rule is ReaderRule.EACH else number)
        assert np.array_equal(lesion.voxels, where)  # in C order, too


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("signs", list(product((1, -1), repeat=3)))
def test_stored_orientation_changes_nothing(
    axes: tuple[int, int, int], signs: tuple[int, int, int], rng: np.random.Generator
) -> None:
    ras = rng.integers(0, 3, (3, 4, 5)).astype(np.uint8)
    stored = ras.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]
    affine = np.eye(4)
    affine[:3, :3] = 0
    for at, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[axis, at] = sign
        affine[axis, 3] = ras.shape[axis] - 1 if sign < 0 else 0
    turned = Volume(np.array(stored, order="F"), affine, 1.0, 0.0, "", ())
    assert np.array_equal(turned.ras, ras)
    for value, where in marks_of(turned, "mask").items():
        assert np.array_equal(where, np.flatnonzero(ras == value))
