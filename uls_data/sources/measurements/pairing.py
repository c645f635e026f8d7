"""Lines into pairs: the long and the short axis that one reader drew across one lesion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from uls_data.measure.lines import Lines
from uls_data.sources.measurements.placing import Drawn

# Axes of a lesion cross each other, or nearly, and not at a sharp angle.
_MOST_OVERSHOOT = 0.25
_SHARPEST_DEGREES = 45.0


@dataclass(frozen=True)
class Pair:
    """Two lines of one reader on one slice.

    Attributes
    ----------
    long, short : Drawn
        By what their source calls them; which is longer is not looked at.
    """

    long: Drawn
    short: Drawn

    @property
    def lines(self) -> Lines:
        """In stored columns and rows."""
        return Lines.of(np.concatenate([self.long.points, self.short.points]))

    @property
    def name(self) -> str:
        """What the source calls the statements."""
        return "+".join(dict.fromkeys((self.long.name, self.short.name)))


def pairs_of(drawn: Sequence[Drawn]) -> tuple[list[Pair], list[Drawn]]:
    """Pairs of lines, and the lines that are left alone.

    What a source calls a long and a short axis of one statement is a pair. Of the other lines of
    one reader on one slice, those are that cross at more than 45 degrees, or would if a quarter
    longer: first within a statement, then within a file, then at all, where neither says which
    lesion it follows; at right angles first.

    Parameters
    ----------
    drawn : sequence of Drawn
        Lines of one scan.
    """
    pairs: list[Pair] = []
    left: list[Drawn] = []
    by_statement: dict[tuple[int, int], list[Drawn]] = {}
    for one in drawn:
        by_statement.setdefault((one.statement.number, one.slice_vox), []).append(one)
    for members in by_statement.values():
        roles = [one.shape.role for one in members]
        if sorted(roles) == ["long", "short"]:
            pairs.append(Pair(members[roles.index("long")], members[roles.index("short")]))
        else:
            left += members
    by_reader: dict[tuple[str, str, int], list[Drawn]] = {}
    for one in left:
        key = (one.statement.drawn_by, one.statement.lesion, one.slice_vox)
        by_reader.setdefault(key, []).append(one)
    alone: list[Drawn] = []
    for members in by_reader.values():
        found, rest = _crossing(members)
        pairs += found
        alone += rest
    return pairs, alone


def _crossing(lines: Sequence[Drawn]) -> tuple[list[Pair], list[Drawn]]:
    candidates = []
    for one, other in combinations(range(len(lines)), 2):
        a, b = lines[one], lines[other]
        both = Lines.of(np.concatenate([a.points, b.points]))
        if a.statement.source != b.statement.source and a.statement.track + b.statement.track:
            continue  # each follows a lesion of its own
        if both.long_vox == 0 or both.short_vox == 0 or max(both.overshoot()) > _MOST_OVERSHOOT:
            continue
        along = a.points[1] - a.points[0], b.points[1] - b.points[0]
        cosine = abs(float(along[0] @ along[1])) / (both.long_vox * both.short_vox)
        if cosine > np.cos(np.radians(_SHARPEST_DEGREES)):
            continue
        apart = (a.statement is not b.statement, a.statement.source != b.statement.source)
        candidates.append((*apart[::-1], cosine, one, other))
    pairs, used = [], set[int]()
    for *_, one, other in sorted(candidates):
        if not used & {one, other}:
            used |= {one, other}
            a, b = lines[one], lines[other]
            turned = a.shape.role == "short" or b.shape.role == "long"
            pairs.append(Pair(b, a) if turned else Pair(a, b))
    return pairs, [one for at, one in enumerate(lines) if at not in used]
