"""A ranking of lesions by a rule: the worst first, each lesion once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from uls_data.manifest.row import Row

Numbers = Mapping[str, float]
_Lesion = tuple[Any, ...]
# Times as many lesions as are wanted are held before the others are dropped.
_MANY = 100


@dataclass(frozen=True)
class Suspect:
    """One entry of a ranking.

    Attributes
    ----------
    row : int
        Number of the row, in the order given.
    score : float
        By which it is ranked; the largest first.
    words : str
        The numbers behind the score.
    """

    row: int
    score: float
    words: str


@dataclass(frozen=True)
class Ranking:
    """A rule and what stands out by it.

    Attributes
    ----------
    name, title, meaning : str
    suspects : list of Suspect
        Worst first; one click of a lesion, its worst; only what the rule finds worth a look.
    """

    name: str
    title: str
    meaning: str
    suspects: list[Suspect]

    def moved(self, places: Mapping[int, int]) -> Ranking:
        """Return the same of rows that stand elsewhere."""
        suspects = [replace(suspect, row=places[suspect.row]) for suspect in self.suspects]
        return replace(self, suspects=suspects)


@dataclass(frozen=True)
class Rule:
    """How lesions are judged: `judge` yields those worth a look, of rows and their numbers."""

    name: str
    title: str
    meaning: str
    judge: Callable[[Sequence[Row], Sequence[Numbers]], Iterable[Suspect]]


def rank(
    rules: Iterable[Rule], rows: Sequence[Row], numbers: Sequence[Numbers], top: int
) -> list[Ranking]:
    """Rank lesions by every rule; one click of a lesion, its worst, and `top` lesions at most."""
    found = []
    for rule in rules:
        best: dict[_Lesion, Suspect] = {}
        least = -math.inf
        for suspect in rule.judge(rows, numbers):
            if suspect.score < least:
                continue
            row = rows[suspect.row]
            lesion = (row["source"], row["case_id"], row["lesion_index"])
            if lesion not in best or best[lesion].score < suspect.score:
                best[lesion] = suspect
            if len(best) > _MANY * top:
                best = dict(_worst(best, top))
                least = min(kept.score for kept in best.values())
        suspects = [suspect for _, suspect in _worst(best, top)]
        found.append(Ranking(rule.name, rule.title, rule.meaning, suspects))
    return found


def _worst(best: Mapping[_Lesion, Suspect], top: int) -> list[tuple[_Lesion, Suspect]]:
    """Return the lesions of the highest scores, the first row where several have one."""
    ordered = sorted(best.items(), key=lambda item: (-item[1].score, item[1].row))
    return ordered[:top]
