"""Measurements of a crowd: grouped whatever their order, placed by UID, checked in mm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

import uls_data
from demo.crowds import make_ccc18
from demo.dicom import PRIVATE
from uls_data.dicom.series import Series, read_series
from uls_data.errors import CaseError
from uls_data.lesions.instances import Lesion, Mark
from uls_data.measure.lines import Lines
from uls_data.outcome import Flag, Reason
from uls_data.profile import PROFILES
from uls_data.recipe import load_recipe
from uls_data.recipe.measurements import Measurements
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.format import Search
from uls_data.sources.measurement import Measurement
from uls_data.sources.measurements.display import windows_of
from uls_data.sources.measurements.find import find_measured
from uls_data.sources.measurements.hulls import groups_of, hulls_meet
from uls_data.sources.measurements.lesions import MAXIMUM_MEASUREMENTS, lesions_of
from uls_data.sources.measurements.placing import Grid, slices_of
from uls_data.sources.measurements.requests import Requests
from uls_data.sources.measurements.statement import Kind, Place, Shape, Statement
from uls_data.volumes.raw_root import RawRoot

coordinates = st.integers(0, 24).map(float)
drawn = st.tuples(*[coordinates] * 8).map(Lines.of)
crowds = st.lists(st.tuples(drawn, st.integers(0, 5)), max_size=9)


def reader() -> Measurements:
    found = load_recipe("ccc18").recipe.reader
    assert isinstance(found, Measurements)
    return found


def cross(x: float, y: float, size: float = 5.0) -> Lines:
    return Lines((x - size, y, x + size, y), (x, y - size / 2, x, y + size / 2))


@given(crowds, st.integers(0, 2), st.randoms(use_true_random=False))
def test_groups_do_not_hang_on_the_order(
    crowd: list[tuple[Lines, int]], apart: int, random: np.random.Generator
) -> None:
    order = list(range(len(crowd)))
    random.shuffle(order)
    lines, slices = [one[0] for one in crowd], [one[1] for one in crowd]
    groups = groups_of(lines, slices, apart)
    again = groups_of([lines[at] for at in order], [slices[at] for at in order], apart)
    assert {frozenset(group) for group in groups} == {
        frozenset(order[at] for at in group) for group in again
    }
    assert sorted(at for group in groups for at in group) == sorted(order)


@given(crowds, st.integers(0, 2))
def test_only_what_meets_on_near_slices_is_joined(
    crowd: list[tuple[Lines, int]], apart: int
) -> None:
    groups = groups_of([one[0] for one in crowd], [one[1] for one in crowd], apart)
    group_of = {at: number for number, group in enumerate(groups) for at in group}
    joined: dict[int, set[int]] = {at: set() for at in group_of}
    for at, (lines, z) in enumerate(crowd):
        for other, (others, other_z) in enumerate(crowd[:at]):
            if abs(z - other_z) <= apart and hulls_meet(lines.points, others.points):
                assert group_of[at] == group_of[other]
                joined[at].add(other)
                joined[other].add(at)
    for group in groups:  # nobody is in a group without a chain of meetings
        reached, edge = {group[0]}, [group[0]]
        while edge:
            new = joined[edge.pop()] - reached
            reached |= new
            edge += new
        assert reached == set(group)


@given(drawn, drawn)
def test_hulls_meet_as_a_linear_program_says(one: Lines, other: Lines) -> None:
    """A shared point is a mean of the points of either, with weights that are not negative."""
    weights = np.hstack([one.points.T, -other.points.T])
    sums = np.kron(np.eye(2), np.ones(4))
    found = linprog(np.zeros(8), A_eq=np.vstack([weights, sums]), b_eq=[0, 0, 1, 1])
    assert found.status in (0, 2)
    assert hulls_meet(one.points, other.points) == (found.status == 0)
    assert hulls_meet(other.points, one.points) == (found.status == 0)


@given(drawn)
def test_a_measurement_meets_itself_and_what_crosses_it(lines: Lines) -> None:
    assert hulls_meet(lines.points, lines.points)
    middle = lines.points.mean(axis=0)
    assert hulls_meet(lines.points, Lines.of([middle] * 4).points)
    assert not hulls_meet(lines.points, lines.moved(30.0, 0.0).points)


def test_segments_of_one_line_that_do_not_meet() -> None:
    one = np.array([[0.0, 0.0], [2.0, 2.0]])
    assert not hulls_meet(one, one + 3)
    assert hulls_meet(one, one + 2)


def test_two_lesions_stay_apart_and_a_chain_joins() -> None:
    lines = [cross(10, 10), cross(30, 10), cross(13, 10), cross(10, 10), cross(10, 10)]
    assert groups_of(lines, [4, 4, 4, 5, 7], 1) == [[0, 2, 3], [1], [4]]
    assert groups_of(lines, [4, 4, 4, 5, 7], 0) == [[0, 2], [1], [3], [4]]
    assert groups_of([*lines, cross(20, 10, 7)], [4, 4, 4, 5, 7, 4], 1) == [[0, 1, 2, 3, 5], [4]]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ccc18")
    make_ccc18(root, 0)
    return root


@pytest.fixture(scope="module")
def opened(archive: Path) -> tuple[CaseFiles, Series]:
    cases = find_measured(Search(load_recipe("ccc18").recipe, RawRoot(archive)), reader())
    case = next(it for it in cases if it.problem is None and len(it.measurements) > 5)
    return case, read_series(case.slices, archive)


def shapes_of(lines: Lines, stated_mm: tuple[float | None, float | None]) -> tuple[Shape, ...]:
    return tuple(
        Shape(Kind.LINE, (line[:2], line[2:]), role, stated_mm=stated)
        for line, role, stated in zip(
            (lines.long, lines.short), ("long", "short"), stated_mm, strict=True
        )
    )


def measured(
    opened: tuple[CaseFiles, Series],
    name: str = "row-1",
    slice_name: str | None = None,
    lines: Lines | None = None,
    stated_mm: tuple[float | None, float | None] = (7.0, 3.5),
    drawn_by: int = 1,
) -> Statement:
    """A measurement of the series, good if nothing is changed: 10 and 5 px of 0.7 mm."""
    _, series = opened
    uid = series.sop_instance_uids[5] if slice_name is None else slice_name
    return Statement(
        number=int(name.removeprefix("row-")),
        source_lesion_id=name,
        place=Place(slice_name=uid),
        shapes=shapes_of(lines or cross(30, 30), stated_mm),
        reader=drawn_by,
        drawn_by=f"{drawn_by}",
    )


def lesions_and_marks(
    opened: tuple[CaseFiles, Series], root: Path, rows: Sequence[Measurement], **fields: object
) -> tuple[list[Lesion], list[Mark]]:
    case, series = opened
    own = reader().model_copy(update=fields)
    grid = Grid(series.volume, slices_of(series.volume, series.sop_instance_uids))
    by_uid = windows_of(series.headers)
    windows = {at: by_uid.get(uid) for at, uid in enumerate(series.sop_instance_uids)}
    case = replace(case, measurements=tuple(rows))
    requests = Requests([one for one in rows if isinstance(one, Statement)], grid, ())
    return lesions_of(case, root, own, grid, requests, windows, PROFILES["paper"])


def placed(
    opened: tuple[CaseFiles, Series], root: Path, *rows: Statement, **fields: object
) -> tuple[list[tuple[int, int]], list[Reason]]:
    """Number and readers of each lesion, and reasons of the rows that are none."""
    found, marks = lesions_and_marks(opened, root, rows, **fields)
    return [(one.index, len(one.measured)) for one in found], [mark.reason for mark in marks]


def test_the_made_up_archive(opened: tuple[CaseFiles, Series], archive: Path) -> None:
    case, series = opened
    lesions, marks = lesions_and_marks(opened, archive, case.measurements)
    assert [len(lesion.measured) for lesion in lesions] == [1, 1, 3]
    assert sorted(mark.reason for mark in marks) == sorted(
        (
            *(Reason.DEGENERATE_LINES, Reason.NOT_A_RADIOLOGIST, Reason.KEY_SLICE_MISSING),
            *(Reason.NOT_MEASURED, Reason.ANNOTATION_MISMATCH, Reason.DUPLICATE),
        )
    )
    by_readers = lesions[-1].measured
    assert [one.reader for one in by_readers] == [1, 2, 3]
    assert len({one.slice_vox for one in by_readers}) == 2
    assert {one.window_hu for lesion in lesions for one in lesion.measured} == {(-160.0, 240.0)}
    assert (lesions[-1].source_lesion_id or "").count("+") == 2
    # The lines lie on the lesion: that proves slice, flips and shift at once.
    hu = series.volume.ras * series.volume.slope + series.volume.intercept
    for lesion in lesions:
        one = lesion.measured[0]
        x, y = one.lines.points.mean(axis=0).round().astype(int)
        plane = hu[:, :, one.slice_vox]
        inside = plane[x - 1 : x + 2, y - 1 : y + 2].mean()
        assert inside > np.median(plane[plane > 0]) + 10
    assert len({(lesion.index, lesion.source_lesion_id) for lesion in lesions}) == 3


def test_the_order_of_rows_changes_nothing(opened: tuple[CaseFiles, Series], archive: Path) -> None:
    case, _ = opened
    expected, _ = lesions_and_marks(opened, archive, case.measurements)
    found, _ = lesions_and_marks(opened, archive, case.measurements[::-1])
    assert [(one.index, one.measured) for one in found] == [
        (one.index, one.measured) for one in expected
    ]


def test_lengths_in_mm(opened: tuple[CaseFiles, Series], archive: Path) -> None:
    for lengths in ((7.0, 3.5), (None, None), (7.1, None), (6.9, 3.6)):
        assert placed(opened, archive, measured(opened, stated_mm=lengths))[1] == []
    for lengths in ((7.3, None), (None, 3.0), (10.0, 5.0), (0.0, None)):
        row = measured(opened, stated_mm=lengths)
        assert placed(opened, archive, row)[1] == [Reason.ANNOTATION_MISMATCH]
        (lesion,), marks = lesions_and_marks(opened, archive, [row], stated_lengths="flag")
        assert marks == [] and Flag.STATED_LENGTH_DIFFERS in lesion.flags
        assert lesion.measured[0].stated_mm == lengths
    row = measured(opened, stated_mm=(10.0, None))
    _, marks = lesions_and_marks(opened, archive, [row])
    assert "pixels" in marks[0].detail and "columns.long_length_mm" in marks[0].detail


def test_the_longer_axis_is_the_long_one(opened: tuple[CaseFiles, Series], archive: Path) -> None:
    lines = cross(30, 30)
    turned = measured(opened, lines=Lines(lines.short, lines.long), stated_mm=(3.5, 7.0))
    (found,), marks = lesions_and_marks(opened, archive, [turned])
    (straight,), _ = lesions_and_marks(opened, archive, [measured(opened)])
    assert marks == [] and found.measured == straight.measured
    assert found.measured[0].stated_mm == (7.0, 3.5)


def test_lines_that_make_no_mask(opened: tuple[CaseFiles, Series], archive: Path) -> None:
    lines = cross(30, 30)
    for wrong in (Lines(lines.long, (3.0, 3.0, 3.0, 3.0)), cross(2, 30), Lines(*[lines.long] * 2)):
        row = measured(opened, lines=wrong, stated_mm=(None, None))
        assert placed(opened, archive, row) == ([], [Reason.DEGENERATE_LINES])


def test_slices_by_uid_or_number(opened: tuple[CaseFiles, Series], archive: Path) -> None:
    _, series = opened
    slices = slices_of(series.volume, series.sop_instance_uids)
    feet = int(np.argmin(series.positions_mm))  # +z runs to the head, and so does the normal here
    assert slices["0"] == feet and slices[series.sop_instance_uids[feet]] == feet
    for name, reasons in (("5", []), ("24", [Reason.KEY_SLICE_MISSING])):
        assert placed(opened, archive, measured(opened, slice_name=name))[1] == reasons
    for name in ("", "1.2.3", series.sop_instance_uids[5] + ".1"):
        assert placed(opened, archive, measured(opened, slice_name=name))[1] == [
            Reason.KEY_SLICE_MISSING
        ]


def test_one_reader_twice(opened: tuple[CaseFiles, Series], archive: Path) -> None:
    one, again = measured(opened, drawn_by=4), measured(opened, "row-2", drawn_by=4)
    (lesion,), (mark,) = lesions_and_marks(opened, archive, [one, again])
    assert lesion.source_lesion_id == "row-1" and len(lesion.measured) == 1
    assert mark.reason is Reason.DUPLICATE
    # Another drawing by the same reader is kept, and so is the same one by another reader.
    moved = measured(opened, "row-2", lines=cross(31, 30), drawn_by=4)
    other = measured(opened, "row-3", drawn_by=2)
    (lesion,), marks = lesions_and_marks(opened, archive, [one, moved, other])
    assert marks == [] and [it.reader for it in lesion.measured] == [1, 2, 3]
    assert lesion.source_lesion_id == "row-3+row-1+row-2"


def test_numbers_follow_slices(opened: tuple[CaseFiles, Series], archive: Path) -> None:
    _, series = opened
    rows = [measured(opened, f"row-{z}", series.sop_instance_uids[z]) for z in (9, 3, 6)]
    lesions, _ = lesions_and_marks(opened, archive, rows)
    assert [one.source_lesion_id for one in lesions] == ["row-3", "row-6", "row-9"]
    assert placed(opened, archive, *rows, slices_apart=3)[0] == [(1, 3)]


def test_a_flood_of_rows_is_refused(opened: tuple[CaseFiles, Series], archive: Path) -> None:
    rows = [measured(opened, f"row-{at}") for at in range(MAXIMUM_MEASUREMENTS + 1)]
    with pytest.raises(CaseError) as caught:
        placed(opened, archive, *rows)
    assert caught.value.reason == Reason.TOO_MANY_INSTANCES


def test_a_build_of_the_made_up_archive(archive: Path, tmp_path: Path) -> None:
    found = uls_data.build("ccc18", archive, tmp_path / "out", masks=["quadrilateral"]).rows
    ok = [row for row in found if row["status"] == "ok"]
    assert all(re.fullmatch(r"ccc18_[0-9a-f]{12}(_lesion_\d\d)?_sample_0", r["voi_id"]) for r in ok)
    assert {(row["patient_id"], row["split"]) for row in found} == {(None, None)}
    by_voi: dict[str, list[str]] = {}
    for row in ok:
        by_voi.setdefault(row["voi_id"], []).append(row["layer"])
    layers = sorted(sorted(names) for names in by_voi.values())
    assert layers == [
        ["quadrilateral"],
        ["quadrilateral", "reader-1", "reader-2"],
        ["quadrilateral", "reader-1", "reader-2", "reader-3"],
    ]
    small = next(row for row in found if row["reason"] == "below_minimum_size")
    assert "more than 5" in small["detail"]
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or PRIVATE.encode() not in path.read_bytes()
    assert PRIVATE not in repr(found)
