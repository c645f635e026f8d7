"""DICOM series that are not an even stack are refused, and say where."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.dicom import positions_mm, write_series
from makers.series import KEEP_LOWER, failure, read, written
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

from uls_data import geometry
from uls_data.dicom.elements import Tag
from uls_data.dicom.series import SeriesPolicy
from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.outcome import Flag, Reason


def moved(**by_mm: Any) -> list[NDArray[np.float64]]:
    """Positions of six slices, some of them moved: `_2=(0, 0, 1)`."""
    places = positions_mm(6, 2.0)
    for name, offset in by_mm.items():
        places[int(name[1:])] += np.array(offset, dtype=float)
    return places


def sheared(shift_mm: float) -> list[NDArray[np.float64]]:
    """Positions of six slices, each shifted against the one below."""
    return [place + np.array([shift_mm * k, 0, 0]) for k, place in enumerate(moved())]


SIX = np.random.default_rng(6).integers(0, 4000, (7, 5, 6)).astype(np.uint16)


@pytest.mark.parametrize(
    ("places", "reason", "says"),
    [
        (moved(_3=(0, 0, -2)), Reason.DUPLICATE_POSITIONS, "6 slices have 5 positions"),
        (moved(_3=(0, 0, -1.9)), Reason.DUPLICATE_POSITIONS, "6 slices have 5 positions"),
        ([moved()[0]] * 6, Reason.DUPLICATE_POSITIONS, "6 slices have 1 positions"),
        (
            moved(_3=(0, 0, 4), _4=(0, 0, 4), _5=(0, 0, 4)),
            Reason.MISSING_SLICES,
            "steps of 2.000 mm, found 6.000 mm between 0004.dcm and 0003.dcm: 2 of 8",
        ),
        (moved(_5=(0, 0, 2)), Reason.MISSING_SLICES, "1 of 7 slices are missing"),
        (
            moved(_3=(0, 0, 0.3)),
            Reason.MISSING_SLICES,
            "2.300 mm between 0004.dcm and 0003.dcm where most are 2.000 mm: 0003.dcm lies 0.300",
        ),
        (
            sheared(0.1),
            Reason.GANTRY_TILT,
            "shift by 0.100 mm in their plane with each step of 2.000 mm",
        ),
        (moved(_3=(0.5, 0, 0)), Reason.MIXED_GEOMETRY, "0003.dcm is shifted by 0.500 mm"),
    ],
    ids=["same", "nearly same", "all same", "gap", "last gap", "uneven", "tilt", "shifted"],
)
def test_uneven_stacks_are_refused(
    tmp_path: Path, places: list[Any], reason: Reason, says: str
) -> None:
    write_series(tmp_path, SIX, at_mm=places)
    error = failure(tmp_path)
    assert error.reason is reason
    assert says in error.detail


@pytest.mark.parametrize(
    "places",
    [
        moved(_3=(0, 0, 0.19)),
        moved(_2=(0, 0, -0.1), _3=(0, 0, 0.1)),
        moved(_3=(0.04, 0, 0)),
        sheared(0.015),
        [np.round(place * 0.625, 1) for place in moved()],
    ],
    ids=["uneven", "two uneven", "shifted", "tilt", "rounded"],
)
def test_rounding_is_no_reason(tmp_path: Path, places: list[Any]) -> None:
    series = written(tmp_path, SIX, at_mm=places)
    np.testing.assert_array_equal(series.volume.stored, SIX)
    ends = geometry.to_mm(series.volume.stored_affine, np.array([[0, 0, 0], [0, 0, 5]]))
    np.testing.assert_allclose(ends, np.array([places[0], places[5]]) * [-1, -1, 1], atol=1e-9)
    error = None
    try:
        read(tmp_path, SeriesPolicy(uneven_share=1e-6))
    except CaseError as caught:
        error = caught.reason
    tilted_only = np.allclose(np.diff(places, n=2, axis=0), 0, atol=1e-9)
    assert (error is None) == tilted_only


def test_policy_keeps_the_lower_instance_number(tmp_path: Path) -> None:
    files = write_series(tmp_path, SIX, at_mm=moved(_3=(0, 0, -2), _4=(0, 0, -2), _5=(0, 0, -2)))
    assert failure(tmp_path).reason is Reason.DUPLICATE_POSITIONS
    series = read(tmp_path, KEEP_LOWER)
    # Numbers fall from 6 to 1 with the slices: of slices 2 and 3 the latter is kept.
    np.testing.assert_array_equal(series.volume.stored, SIX[:, :, [0, 1, 3, 4, 5]])
    assert series.volume.flags == (Flag.SLICES_REPAIRED,)
    hashes = [hashlib.sha256((tmp_path / file).read_bytes()).hexdigest() for file in files]
    assert series.volume.sha256 == hash_of(sorted(hashes))


@pytest.mark.parametrize("number", [None, 4, "some text"])
def test_policy_does_not_guess(tmp_path: Path, number: Any) -> None:
    def change(k: int, dataset: Dataset) -> None:
        if k == 3:
            dataset.add_new(Tag.INSTANCE_NUMBER, "LO" if isinstance(number, str) else "IS", number)

    places = moved(_3=(0, 0, -2), _4=(0, 0, -2), _5=(0, 0, -2))
    write_series(tmp_path, SIX, at_mm=places, change=change, syntax=uid.ImplicitVRLittleEndian)
    assert "no lowest InstanceNumber" in failure(tmp_path, KEEP_LOWER).detail


def test_policy_leaves_no_slice_over(tmp_path: Path) -> None:
    write_series(tmp_path, SIX, at_mm=[moved()[0]] * 6)
    assert failure(tmp_path, KEEP_LOWER).reason is Reason.TOO_FEW_SLICES
