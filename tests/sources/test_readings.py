"""Readings grouped into nodules, and what their readers agree on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers.cells import Cell, cells, cells_of, voxels_of

from uls_data.errors import CaseError
from uls_data.lesions.votes import Agreement, consensus
from uls_data.outcome import Flag, Reason
from uls_data.sources.lidc import nodules as readings_module
from uls_data.sources.lidc.nodules import Reading, Span, fill_readings, read_nodules
from uls_data.sources.lidc.outlines import Ring
from uls_data.sources.lidc.xml import Contour, Nodule, Reader, Readings

full_masks = st.frozensets(cells, min_size=1, max_size=12)


readings = st.lists(
    st.tuples(st.integers(1, 4), full_masks).map(
        lambda it: Reading(it[0], f"id-{it[0]}", voxels_of(it[1]))
    ),
    max_size=7,
)


def block(*, at: int = 0, first: int, last: int, reader: int = 1) -> Reading:
    """Two voxels wide on the slices from first to last."""
    mask = {(x, 0, z) for x in (at, at + 1) for z in range(first, last + 1)}
    return Reading(reader, f"{reader}", voxels_of(mask))


@given(readings, st.sampled_from([*Agreement, 1, 2, 3]), st.sampled_from(Span))
def test_nodules(given_readings: list[Reading], rule: Agreement | int, span: Span) -> None:
    nodules = read_nodules(given_readings, rule, span)
    # Every reading is in one nodule.
    used = [id(reading) for nodule in nodules for reading in nodule.readings]
    assert sorted(used) == sorted(map(id, given_readings))
    for nodule in nodules:
        own: dict[str, set[Cell]] = {}
        for reading in nodule.readings:
            layer = own.setdefault(f"reader-{reading.reader}", set())
            layer |= cells_of(reading.voxels)
        assert {name: cells_of(voxels) for name, voxels in nodule.layers} == own
        assert [name for name, _ in nodule.layers] == sorted(own)
        assert nodule.agreement == len(own)
        found = cells_of(nodule.voxels)
        agreed = cells_of(consensus([voxels for _, voxels in nodule.layers], rule))
        if span is Span.ALL:
            assert found == agreed
        else:
            spans = [(r.voxels[:, 2].min(), r.voxels[:, 2].max()) for r in nodule.readings]
            first, last = next(s for s in spans if s[1] - s[0] == max(b - a for a, b in spans))
            assert found == {cell for cell in agreed if first <= cell[2] <= last}
    # Nodules of the widest rule have no voxel in common: each voxel belongs to one nodule.
    if rule is Agreement.ANY and span is Span.ALL:
        everything = [cell for nodule in nodules for cell in cells_of(nodule.voxels)]
        assert len(everything) == len(set(everything))
        assert set(everything) == {c for r in given_readings for c in cells_of(r.voxels)}


@given(readings)
def test_stricter_rules_give_less(given_readings: list[Reading]) -> None:
    by_rule = [read_nodules(given_readings, rule) for rule in Agreement]
    for nodules in zip(*by_rule, strict=True):
        widest, most, strictest = (cells_of(nodule.voxels) for nodule in nodules)
        assert strictest <= most <= widest


@given(readings, st.randoms())
def test_order_of_readers_does_not_move_a_voxel(given_readings: list[Reading], random: Any) -> None:
    shuffled = random.sample(given_readings, len(given_readings))
    for rule in Agreement:
        one, other = (
            sorted(sorted(cells_of(nodule.voxels)) for nodule in read_nodules(it, rule))
            for it in (given_readings, shuffled)
        )
        assert one == other


def test_pieces_of_one_reader_meet_in_another_s_nodule() -> None:
    whole = block(first=0, last=9, reader=2)
    pieces = [block(first=0, last=3), block(first=6, last=9)]
    (nodule,) = read_nodules([pieces[0], whole, pieces[1]])
    assert nodule.agreement == 2
    assert len(nodule.readings) == 3
    assert len(dict(nodule.layers)["reader-1"]) == 16
    assert len(read_nodules(pieces)) == 2


def test_the_longest_reading_bounds_the_slices() -> None:
    # As in published labels: the first of two readings of equal length wins.
    early, late = block(first=2, last=5), block(first=3, last=6, reader=2)
    for order, slices in (((early, late), {2, 3, 4, 5}), ((late, early), {3, 4, 5, 6})):
        (nodule,) = read_nodules(order, span=Span.LONGEST)
        assert set(nodule.voxels[:, 2].tolist()) == slices
        assert all(len(voxels) == 8 for _, voxels in nodule.layers)  # layers stay whole


SQUARE = ((2, 2), (6, 2), (6, 6), (2, 6))


def drawn(*contours: tuple[str, Any, bool]) -> Nodule:
    return Nodule(
        "7",
        {},
        tuple(
            Contour(uid, 0.0, inclusion, np.array(path, dtype=np.int32))
            for uid, path, inclusion in contours
        ),
    )


def test_outlines_of_a_file_are_filled() -> None:
    hole = ((3, 3), (5, 3), (5, 5), (3, 5))
    line = ((1, 1), (5, 1))
    file = Readings(
        "1.2",
        None,
        (
            Reader(1, (drawn(("a", SQUARE, True), ("b", SQUARE, True), ("b", hole, False)),), ()),
            Reader(2, (drawn(("b", line, True)), drawn(("c", SQUARE, True))), ()),
        ),
    )
    places = {"a": 4, "b": 5, "c": None}
    filled = fill_readings(file, lambda c: places[c.sop_instance_uid], (9, 9, 9), Ring.OUTSIDE)
    (reading,) = filled.readings
    assert (reading.reader, reading.reading_id) == (1, "7")
    assert cells_of(reading.voxels) == {(x, y, 4) for x in (3, 4, 5) for y in (3, 4, 5)}
    assert [it.reader for it in filled.empty] == [2, 2]
    assert filled.flags == (Flag.CONTOUR_OFF_SLICE,)
    places["c"] = 8
    small = fill_readings(file, lambda c: places[c.sop_instance_uid], (9, 6, 9), Ring.INSIDE)
    assert small.flags == (Flag.OUT_OF_FIELD,)
    assert not small.empty


def test_outlines_of_more_than_nodules_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(1, (drawn(("a", SQUARE, True), ("b", SQUARE, True)),), ())
    file = Readings("1.2", None, (reader, reader))
    monkeypatch.setattr(readings_module, "MAXIMUM_PIXELS", 4 * 25)
    fill_readings(file, lambda _: 0, (9, 9, 9), Ring.OUTSIDE)
    monkeypatch.setattr(readings_module, "MAXIMUM_PIXELS", 4 * 25 - 1)
    with pytest.raises(CaseError) as caught:
        fill_readings(file, lambda _: 0, (9, 9, 9), Ring.OUTSIDE)
    assert caught.value.reason == Reason.TOO_LARGE
    # What lies beyond the grid does not count.
    fill_readings(file, lambda _: 0, (4, 9, 9), Ring.OUTSIDE)
