"""A ranking of lesions by a rule: the worst first, each lesion once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from uls_data.manifest.row import Row

Numbers = Mapping[str, float]


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
        best: dict[tuple[Any, ...], Suspect] = {}
        for suspect in rule.judge(rows, numbers):
            row = rows[suspect.row]
            lesion = (row["source"], row["case_id"], row["lesion_index"])
            if lesion not in best or best[lesion].score < suspect.score:
                best[lesion] = suspect
        ordered = sorted(best.values(), key=lambda suspect: (-suspect.score, suspect.row))
        found.append(Ranking(rule.name, rule.title, rule.meaning, ordered[:top]))
    return found
