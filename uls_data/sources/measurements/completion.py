"""Measurements that lack an axis, completed: lengths about a point, lines alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from uls_data.sources.measurements.across import USUAL_SHARE, axes_at, axes_of_line
from uls_data.sources.measurements.pairing import pairs_of
from uls_data.sources.measurements.placing import Drawn, Grid
from uls_data.sources.measurements.statement import Kind, Shape


def completed(
    drawn: Sequence[Drawn], grid: Grid, *, lone_lines: bool
) -> tuple[list[Drawn], frozenset[int]]:
    """All that was drawn, with axes that nobody drew, and the numbers of those statements.

    Points of statements that give lengths and no line get both axes, and stay; lines that make no
    pair get a short axis where that is wanted.
    """
    made, numbers = list(drawn), set[int]()
    spacing_mm = grid.spacing_mm[:2]
    by_statement: dict[int, list[Drawn]] = {}
    for one in drawn:
        by_statement.setdefault(one.statement.number, []).append(one)
    for number, members in by_statement.items():
        long_mm, short_mm = members[0].statement.stated_mm
        if not long_mm or {one.shape.kind for one in members} != {Kind.POINT}:
            continue
        (one, *_) = members
        width_mm = short_mm or USUAL_SHARE * long_mm
        ends = axes_at(grid.hu(one.slice_vox), spacing_mm, one.points[0], long_mm, width_mm)
        if ends is not None:
            made += _axes(one, ends, (long_mm, short_mm), grid)
            numbers.add(number)
    if lone_lines:
        _, alone = pairs_of([one for one in drawn if one.shape.kind == Kind.LINE])
        completed_ids = set(map(id, alone))
        made = [one for one in made if id(one) not in completed_ids]
        for one in alone:
            ends = axes_of_line(spacing_mm, one.points)
            made += _axes(one, ends, (one.shape.stated_mm, None), grid)
            numbers.add(one.statement.number)
    return made, frozenset(numbers)


def _axes(
    one: Drawn,
    ends: NDArray[np.float64],
    stated_mm: tuple[float | None, float | None],
    grid: Grid,
) -> list[Drawn]:
    """Long and short axis as if they had been drawn."""
    if grid.nearest_vox:
        ends = np.rint(ends / grid.nearest_vox) * grid.nearest_vox
    return [
        replace(
            one,
            shape=Shape(Kind.LINE, one.shape.points, role, stated_mm=stated),
            points=ends[at : at + 2],
        )
        for at, role, stated in zip((0, 2), ("long", "short"), stated_mm, strict=True)
    ]
