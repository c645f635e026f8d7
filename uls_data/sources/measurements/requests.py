"""Sizes that wait for lines: rows that state lengths alone, and what readers drew for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from uls_data.errors import CaseError
from uls_data.io import sha256_bytes
from uls_data.lesions.instances import Lesion, Mark
from uls_data.outcome import Reason
from uls_data.sources.measurements.placing import Grid
from uls_data.sources.measurements.statement import Place, Statement


def answered(stated: Sequence[Statement], drawn: Sequence[Statement]) -> list[Statement]:
    """Statements of a table, with what readers drew in the place of the rows that asked for it.

    Lines keep the name, the lengths and the lesion type of the row that they were drawn for. Those
    for a row that is no longer there stand on their own.

    Parameters
    ----------
    stated : sequence of Statement
        Of the table.
    drawn : sequence of Statement
        Of all tables of drawn lines.
    """
    asking = {one.request: one for one in reversed(stated) if one.asked is not None}
    done = {one.request for one in drawn}
    kept = [one for one in stated if one.asked is None or one.request not in done]
    return kept + [_answer(one, asking.get(one.request)) for one in drawn]


def _answer(drawn: Statement, asked: Statement | None) -> Statement:
    name = drawn.request or drawn.source_lesion_id
    if asked is None:
        return replace(drawn, source_lesion_id=name)
    stated = dict(zip(("long", "short"), asked.stated_mm, strict=True))
    return replace(
        drawn,
        source_lesion_id=name,
        asked=asked.asked,
        stated_mm=asked.stated_mm,
        lesion_type=asked.lesion_type,
        lesion=asked.lesion or sha256_bytes(name.encode()),
        shapes=tuple(
            replace(shape, stated_mm=stated[shape.role]) if shape.role else shape
            for shape in drawn.shapes
        ),
    )


def said_of(asked: Statement) -> str:
    """Words for what a row asks for: its sizes."""
    long_mm, short_mm = asked.stated_mm
    if long_mm is None:
        return f"a short axis of {short_mm:g} mm"
    return f"{long_mm:g} mm" if short_mm is None else f"{long_mm:g} x {short_mm:g} mm"


def slice_of(place: Place, grid: Grid) -> int:
    """Find the stored slice that a row names.

    Raises
    ------
    CaseError
        As of `Grid.placed`; `key_slice_missing`: it names none.
    """
    at = grid.named(place)
    if at is None:
        raise CaseError(Reason.KEY_SLICE_MISSING, "nothing tells the slice")
    return at


class Requests:
    """Lesions of a scan that readers are or were asked for.

    Parameters
    ----------
    statements : sequence of Statement
        Of the scan.
    grid : Grid
    uids : sequence of str
        SOPInstanceUIDs by stored slice; empty where a slice has none.
    """

    def __init__(self, statements: Sequence[Statement], grid: Grid, uids: Sequence[str]) -> None:
        self._uids = uids
        self._slices: dict[str, int] = {}
        self._open: dict[str, list[Statement]] = {}
        self.marks: list[tuple[int, Mark]] = []
        drawn = {one.request for one in statements if one.shapes}
        for one in statements:
            if one.asked is None:
                continue
            if one.request in self._open and one.skipped is None:
                detail = (
                    f"{said_of(one)} on a slice for which the same lesion, or one of the same "
                    "lengths, is asked already; tell them apart in the table's column of lesions"
                )
                self.marks.append((one.number, Mark(Reason.DUPLICATE, detail, one.request)))
                continue
            try:
                self._slices.setdefault(one.request, slice_of(one.asked, grid))
            except CaseError as error:
                if not one.shapes and one.skipped is None:
                    mark = Mark(error.reason, error.detail, one.request)
                    self.marks.append((one.number, mark))
                    continue
            if one.request not in drawn:
                self._open.setdefault(one.request, []).append(one)

    def place(self, one: Statement) -> tuple[float, int, str] | None:
        """Where a lesion stands among others: by the slice that was named, not by the lines.

        So its number stays when readers draw further lesions. None of one that was not asked for.
        """
        if one.asked is None or one.request not in self._slices:
            return None
        return float(self._slices[one.request]), 1, one.request

    def columns(self, one: Statement) -> tuple[tuple[str, str | float | None], ...]:
        """Columns of a lesion that readers are or were asked for."""
        at = self._slices.get(one.request) if one.asked is not None else None
        if at is None or at >= len(self._uids) or not self._uids[at]:
            return ()
        return (("key_slice_uid", self._uids[at]),)

    def waiting(self) -> list[Statement]:
        """Of each lesion without lines the first statement."""
        return [members[0] for members in self._open.values()]

    def lesion(self, one: Statement, number: int) -> Lesion:
        """Lesion without lines: it waits for them, or no reader found it."""
        long_mm, short_mm = one.stated_mm
        kind = () if one.lesion_type is None else (("lesion_type", one.lesion_type.value),)
        stated = (("stated_long_mm", long_mm), ("stated_short_mm", short_mm))
        track = (("lesion_track_id", one.follows),) if one.follows else ()
        return Lesion(
            number,
            np.empty((0, 3), np.int32),
            one.request,
            skipped=self._why(one),
            columns=(*kind, *stated, *self.columns(one), *track),
        )

    def _why(self, one: Statement) -> tuple[Reason, str]:
        members = self._open[one.request]
        said = Counter(
            member.skipped[1].rpartition(": ")[2] for member in members if member.skipped
        )
        if said:
            words = ", ".join(f"{count} {word}" for word, count in sorted(said.items()))
            return Reason.NOT_MEASURED, f"{said_of(one)}: readers drew no lines: {words}"
        at = self._slices.get(one.request)
        assert one.asked is not None
        where = f"slice {at}, counted from 0"
        if one.asked.image_number is not None:
            where = f"image {one.asked.image_number} ({where})"
        return Reason.AWAITING_LINES, f"{said_of(one)} on {where}: no reader has drawn lines yet"
