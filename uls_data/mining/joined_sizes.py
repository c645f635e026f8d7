"""Sizes that a report tells in two parts: long and short axis apart, or a mean with its axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from uls_data.mining.seats import Seat
from uls_data.mining.word_places import Page


def axes_together(page: Page, placed: Sequence[Seat]) -> list[Seat]:
    """Join "22 mm in long axis and 14 mm in short axis" into one size."""
    joined: list[Seat] = []
    for seat in placed:
        last = joined[-1] if joined else None
        if last is not None and _mean_of(page, last, seat):
            most = max((last.size, seat.size), key=lambda size: len(size.axes_mm))
            reference = last.reference or seat.reference
            joined[-1] = replace(last, size=most, post=seat.post, reference=reference)
        elif last is not None and _same_lesion(page, last, seat):
            size = replace(
                last.size,
                span=(last.size.start, seat.size.end),
                axes_mm=(*last.size.axes_mm, *seat.size.axes_mm),
                labels=(*last.size.labels, *seat.size.labels),
                parts=(*(last.size.parts or (last.size.span,)), seat.size.span),
            )
            reference = last.reference or seat.reference
            joined[-1] = replace(last, size=size, post=seat.post, reference=reference)
        else:
            joined.append(seat)
    return joined


def _mean_of(page: Page, first: Seat, second: Seat) -> bool:
    """Whether one of two sizes is the mean of the other: "7 mm average diameter (8 x 6 mm)"."""
    one, two = sorted((first.size.axes_mm, second.size.axes_mm), key=len)
    start, end = first.size.end, second.size.start
    if len(one) != 1 or len(two) != 2 or first.sentence is not second.sentence or end - start > 40:
        return False
    said = page.has("mean", max(first.pre[0], first.size.start - 20), min(second.post[1], end + 40))
    return said and abs(one[0] - sum(two) / 2) <= 1


def _same_lesion(page: Page, first: Seat, second: Seat) -> bool:
    labels = (*first.size.labels, *second.size.labels)
    if len(labels) > 3 or not all(labels) or first.size.was or second.size.was:
        return False
    if len(set(labels) - {"other"}) < len([one for one in labels if one != "other"]):
        return False
    start, end = first.size.end, second.size.start
    gap = page.text[start:end]
    if len(gap) > 60 or gap.count("\n") > 1 or "(" in gap.replace("(long", "").replace("(ap", ""):
        return False
    return not (
        page.has("lesion", start, end)
        or page.has("previous_before", start, end)
        or page.has("now", start, end)
        or page.places_within(start, end)
    )
