"""Which of several stacks in a series is read, by the slices that something was drawn on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.phases import Stack, drawn, write_stacks

from uls_data.dicom.phases import NamedSlices
from uls_data.dicom.series import STRICT, Series, SeriesPolicy, read_series
from uls_data.errors import CaseError

EARLY, LATE = Stack(100), Stack(200)
FIRST, SECOND = {"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}


def read(
    folder: Path,
    stacks: tuple[Stack, ...],
    named: NamedSlices,
    policy: SeriesPolicy = STRICT,
    **options: Any,
) -> Series:
    files = write_stacks(folder, *stacks, **options)
    return read_series(files, folder, policy, lambda: named)


def value(series: Series) -> int:
    """Value of the stack that was read: all of it belongs to one."""
    (found,) = {int(one) for one in np.unique(series.volume.stored) // 100 * 100}
    return found


def failure(*arguments: Any, **options: Any) -> CaseError:
    with pytest.raises(CaseError) as caught:
        read(*arguments, **options)
    return caught.value


@pytest.mark.parametrize("chosen", [EARLY, LATE])
def test_all_slices_of_a_phase_are_listed(tmp_path: Path, chosen: Stack) -> None:
    """Nothing else tells the phases apart: the same numbers, times and types."""
    named = NamedSlices(drawn(chosen).drawn, chosen.named())
    series = read(tmp_path, (EARLY, LATE), named)
    assert value(series) == chosen.value and series.sop_instance_uids == tuple(
        map(chosen.uid, range(6))
    )
    assert "phase_chosen" in series.volume.flags
    assert "6 of the 12 slices" in series.left_out
    # All files of the series are hashed, also those of the other phase.
    (other,) = {100, 200} - {chosen.value}
    path = tmp_path / f"{other}-000.dcm"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    files = [Path(path.name) for path in tmp_path.iterdir()]
    again = read_series(files, tmp_path, drawn_on=lambda: named)
    assert again.volume.sha256 != series.volume.sha256
    assert np.array_equal(again.volume.stored, series.volume.stored)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (FIRST, SECOND),
        ({"AcquisitionTime": "101112"}, {"AcquisitionTime": "101142"}),
        ({"ContentTime": "101112.5"}, {"ContentTime": "101112.6"}),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL", "A"]}, {}),
        ({}, FIRST),
    ],
)
@pytest.mark.parametrize("which", [0, 1])
def test_an_element_tells_the_phase(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], which: int
) -> None:
    """Frames name a few slices alone; the phases start and end at other heights."""
    stacks = Stack(100, first), Stack(200, second, slices=9, first_mm=-5.0)
    series = read(tmp_path, stacks, drawn(stacks[which]))
    assert value(series) == stacks[which].value
    assert series.volume.stored.shape[2] == stacks[which].slices


def test_the_order_of_numbers_tells_the_phase(tmp_path: Path) -> None:
    """With a time for every other slice, as scanners write: no phase is cut in pieces."""
    times = {"ContentTime": lambda at: f"1011{at // 2:02d}", "AcquisitionNumber": 1}
    stacks = Stack(100, times), Stack(200, times, slices=7)
    series = read(tmp_path, stacks, drawn(stacks[1]), numbered=True)
    assert value(series) == 200 and series.volume.stored.shape[2] == 7


def test_a_piece_of_a_stack_is_not_chosen(tmp_path: Path) -> None:
    early = Stack(100, {"ContentTime": lambda at: "101112" if at < 4 else "101113"})
    late = Stack(200, {"ContentTime": lambda at: "101114" if at < 4 else "101115"})
    error = failure(tmp_path, (early, late), drawn(early))
    assert error.reason == "duplicate_positions" and "tells one stack" in error.detail


def test_slices_that_watch_the_contrast_arrive_are_left_out(tmp_path: Path) -> None:
    watching = Stack(100, FIRST, slices=8, first_mm=5.0, step_mm=0.0)
    helix = Stack(200, SECOND)
    assert value(read(tmp_path, (watching, helix), drawn(helix))) == 200


@pytest.mark.parametrize(
    "late",
    [
        Stack(200, SECOND, first_mm=0.8),  # between the slices of the other one
        Stack(200, {**SECOND, "PixelSpacing": [0.6, 0.6]}),
    ],
)
def test_stacks_that_share_no_position_or_no_grid(tmp_path: Path, late: Stack) -> None:
    early = Stack(100, FIRST)
    assert value(read(tmp_path / "early", (early, late), drawn(early))) == 100
    assert value(read(tmp_path / "late", (early, late), drawn(late))) == 200


def test_a_stack_that_is_named_as_a_whole_comes_before_others(tmp_path: Path) -> None:
    early, late = Stack(100, FIRST), Stack(200, SECOND)
    both = NamedSlices(early.named() | late.named([3]))
    assert value(read(tmp_path, (early, late), both)) == 100


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (NamedSlices(), "names none of its slices"),
        (NamedSlices(frozenset({"1.2.3"}), frozenset({"1.2.4"})), "names none of its slices"),
        (drawn(EARLY, LATE), "4 of its 12 slices are named"),
        (NamedSlices(EARLY.named() | LATE.named()), "12 of its 12 slices are named"),
        # The list belongs to one phase, the frames belong to the other.
        (NamedSlices(drawn(LATE).drawn, EARLY.named()), "2 of its 12 slices are named"),
    ],
)
def test_nothing_tells_the_phase(tmp_path: Path, named: NamedSlices, found: str) -> None:
    error = failure(tmp_path, (EARLY, LATE), named)
    assert error.reason == "duplicate_positions"
    assert error.detail.startswith("12 slices have 6 positions") and found in error.detail
    assert str(tmp_path) not in error.detail


def test_elements_that_contradict_each_other(tmp_path: Path) -> None:
    """The acquisition says one stack, the image type another that also holds what was drawn."""
    kinds = (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "AXIAL"])
    early = Stack(100, {**FIRST, "ImageType": lambda at: kinds[at == 5]})
    late = Stack(200, {**SECOND, "ImageType": lambda at: kinds[at != 5]})
    error = failure(tmp_path, (early, late), drawn(early))
    assert "tell different stacks" in error.detail


def test_a_missing_slice_is_still_missing(tmp_path: Path) -> None:
    """Halves of another time are not stacks of their own: one does not lie among the other."""
    low = Stack(100, FIRST, slices=5)
    high = Stack(200, SECOND, slices=5, first_mm=6 * low.step_mm)
    assert failure(tmp_path, (low, high), drawn(low)).reason == "missing_slices"


def test_copies_under_one_uid_are_no_phases(tmp_path: Path) -> None:
    same = {"SOPInstanceUID": EARLY.uid}
    error = failure(tmp_path, (EARLY, Stack(200, same)), drawn(EARLY))
    assert error.reason == "duplicate_positions"


def test_the_policy_decides_where_nothing_tells(tmp_path: Path) -> None:
    keep = SeriesPolicy(duplicate_positions="first_instance_number")
    series = read(tmp_path, (EARLY, LATE), NamedSlices(), keep, numbered=True)
    assert value(series) == 100 and not series.left_out
    assert "slices_repaired" in series.volume.flags and "phase_chosen" not in series.volume.flags
    # What was drawn comes first.
    found = read_series(
        sorted(Path(path.name) for path in tmp_path.iterdir()), tmp_path, keep, lambda: drawn(LATE)
    )
    assert value(found) == 200 and "phase_chosen" in found.volume.flags


def test_a_series_of_one_stack_asks_for_nothing(tmp_path: Path) -> None:
    def never() -> NamedSlices:
        raise AssertionError

    series = read_series(write_stacks(tmp_path, EARLY), tmp_path, drawn_on=never)
    assert not series.left_out and "phase_chosen" not in series.volume.flags
