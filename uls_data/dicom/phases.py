"""Several stacks of slices in one series, such as contrast phases: the one that was drawn on.

Where slices share positions, or do not make one stack, what was drawn on some of them tells which
stack is meant. It is the named slices themselves, if they have every position of the series; else
the stack that an element of the headers, or the order of InstanceNumbers, tells apart from the
others. Nothing is chosen unless all that tells a stack tells the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from uls_data.dicom.elements import Header, Tag
from uls_data.dicom.stack import SAME_SHARE, Plane, SeriesPolicy, Stack, stack_planes
from uls_data.errors import CaseError
from uls_data.outcome import Reason

# What several stacks in one series look like.
_SEVERAL = (Reason.DUPLICATE_POSITIONS, Reason.MISSING_SLICES, Reason.MIXED_GEOMETRY)
_TELLING = (Tag.ACQUISITION_NUMBER, Tag.ACQUISITION_TIME, Tag.CONTENT_TIME, Tag.IMAGE_TYPE)
_BY_NUMBER = "the order of instance numbers"
# Where a value has so many stacks, it is one of slices.
_MOST_STACKS = 32


@dataclass(frozen=True)
class NamedSlices:
    """SOP instance UIDs of the images that an object names.

    Attributes
    ----------
    drawn : frozenset of str
        By its contours or frames: what was drawn on.
    listed : frozenset of str
        By its list of all images, which may hold more.
    """

    drawn: frozenset[str] = frozenset()
    listed: frozenset[str] = frozenset()

    def __or__(self, other: NamedSlices) -> NamedSlices:
        """Those of two objects together."""
        return NamedSlices(self.drawn | other.drawn, self.listed | other.listed)


DrawnOn = Callable[[], NamedSlices]
_Stacks = list[list[int]]
_Order = frozenset[int]


def stack_of(
    planes: Sequence[Plane],
    headers: Sequence[Header],
    policy: SeriesPolicy,
    drawn_on: DrawnOn | None = None,
) -> tuple[Stack, str]:
    """Stack of a series, and words for the slices of its other stacks; empty where it is one.

    Parameters
    ----------
    planes, headers : sequence
        Of all slices.
    drawn_on : callable, optional
        Says on which slices something was drawn; called only where there may be several stacks.

    Raises
    ------
    CaseError
        As `stack_planes`; where nothing tells the stack, the detail says what was looked at.
    """
    if drawn_on is None:
        return stack_planes(planes, policy), ""
    single = replace(policy, duplicate_positions="fail")
    try:
        return stack_planes(planes, single), ""
    except CaseError as error:
        if error.reason not in _SEVERAL:
            raise
        found = _Search(planes, headers, single, drawn_on()).chosen()
        if isinstance(found, str):
            if policy == single:
                raise CaseError(error.reason, f"{error.detail}; {found}") from error
            return stack_planes(planes, policy), ""
    kept, how = found
    stack = stack_planes([planes[k] for k in kept], single)
    left_out = (
        f"{len(planes) - len(kept)} of the {len(planes)} slices of the series belong to another "
        f"stack, such as another phase, than the one drawn on (told by {how})"
    )
    return replace(stack, order=tuple(kept[k] for k in stack.order)), left_out


class _Search:
    """Looks for the stack of a series that something was drawn on."""

    def __init__(
        self,
        planes: Sequence[Plane],
        headers: Sequence[Header],
        policy: SeriesPolicy,
        named: NamedSlices,
    ) -> None:
        self._planes, self._headers, self._policy = planes, headers, policy
        uids = [header.uid(Tag.SOP_INSTANCE_UID) for header in headers]
        self._drawn = frozenset(k for k, uid in enumerate(uids) if uid in named.drawn)
        self._listed = frozenset(k for k, uid in enumerate(uids) if uid in named.listed)
        row, column = np.reshape(planes[0].cosines, (2, 3))
        self._along = np.array([plane.position_mm for plane in planes]) @ np.cross(row, column)

    def chosen(self) -> tuple[list[int], str] | str:
        """Slices of the stack and what tells it; or why nothing does."""
        named = self._drawn or self._listed
        if not named:
            return "what was drawn names none of its slices, so none of its stacks can be chosen"
        for told in (self._drawn, self._listed):
            if told >= self._drawn and self._has_every_position(told):
                return sorted(told), "the slices that are named"
        found: dict[_Order, str] = {}
        for how, stacks in self._splits():
            holding = [one for one in map(frozenset, stacks) if named <= one]
            # Of stacks that are named in part and as a whole the latter is meant.
            holding = holding or [one for one in map(frozenset, stacks) if one <= named]
            if len(holding) == 1 and self._is_apart(holding[0], stacks):
                found.setdefault(holding[0], how)
        if len(found) == 1:
            ((stack, how),) = found.items()
            return sorted(stack), how
        looked = f"{len(named)} of its {len(self._planes)} slices are named by what was drawn"
        if found:
            return f"{looked}; {' and '.join(found.values())} tell different stacks of these"
        return (
            f"{looked}, and neither acquisition, time, image type nor instance number tells one "
            "stack that holds these"
        )

    def _has_every_position(self, stack: _Order) -> bool:
        """Whether slices are an even stack at all positions of the series."""
        if self._stacked(sorted(stack)) is None:
            return False
        at = np.sort(self._along[sorted(stack)])
        above = np.clip(np.searchsorted(at, self._along), 1, len(at) - 1)
        off = np.minimum(np.abs(at[above] - self._along), np.abs(at[above - 1] - self._along))
        return bool(off.max() <= SAME_SHARE * np.diff(at).min())

    def _splits(self) -> Iterator[tuple[str, _Stacks]]:
        """Ways to part the slices, by what tells the parts."""
        for tag in _TELLING:
            parts: dict[str, list[int]] = {}
            for k, header in enumerate(self._headers):
                parts.setdefault(header.text(tag), []).append(k)
            if 1 < len(parts) <= _MOST_STACKS:
                yield tag.label, list(parts.values())
        runs = self._runs()
        if 1 < len(runs) <= _MOST_STACKS:
            yield _BY_NUMBER, runs

    def _runs(self) -> _Stacks:
        """Slices by InstanceNumber, parted wherever they turn back; none where numbers repeat."""
        numbers = [plane.instance_number for plane in self._planes]
        if None in numbers or len(set(numbers)) < len(numbers):
            return []
        runs: _Stacks = []
        way = 0.0
        for k in sorted(range(len(numbers)), key=lambda k: numbers[k] or 0.0):
            step = float(np.sign(self._along[k] - self._along[runs[-1][-1]])) if runs else 0.0
            if step and way in (0.0, step):
                runs[-1].append(k)
                way = step
            else:
                runs.append([k])
                way = 0.0
        return runs

    def _is_apart(self, stack: _Order, stacks: _Stacks) -> bool:
        """Whether slices are an even stack among others, and no piece of a longer one."""
        kept = sorted(stack)
        if self._stacked(kept) is None:
            return False
        low, high = self._along[kept].min(), self._along[kept].max()
        others = [one for one in stacks if stack.isdisjoint(one)]
        among = any(
            ((self._along[one] >= low) & (self._along[one] <= high)).any() for one in others
        )
        return among and all(self._stacked(sorted(kept + one)) is None for one in others)

    def _stacked(self, some: Sequence[int]) -> Stack | None:
        if len(some) < 2:
            return None
        with suppress(CaseError):
            return stack_planes([self._planes[k] for k in some], self._policy)
        return None
