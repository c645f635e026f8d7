"""How far curators agree, and what they do not agree on."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from uls_data.errata.opinion import Key, Opinion, Opinions, read_opinions
from uls_data.errata.overlay import ErrataError
from uls_data.io import write_bytes

OVERALL = "decision"


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of two curators on one question.

    Attributes
    ----------
    question : str
        `decision`: which of all decisions; else whether a decision or a reason was named.
    n : int
        VOIs that both decided on, having seen the same mask.
    first, second : int or None
        How many of them the one and the other curator named; None for `decision`.
    observed : float or None
        Share on which they agree; None where n is 0.
    kappa : float or None
        None where it is undefined.
    why : str
        Why it is undefined.
    """

    question: str
    n: int
    first: int | None
    second: int | None
    observed: float | None
    kappa: float | None
    why: str = ""


@dataclass(frozen=True)
class Agreement:
    """Two curators.

    Attributes
    ----------
    first, second : str
        Names of their overlays.
    kappas : tuple of Kappa
        On the decision, then on each decision and on each reason alone.
    one_only : int
        VOIs that only one of them decided on.
    other_masks : int
        VOIs that both decided on, of which they saw different masks: not counted.
    """

    first: str
    second: str
    kappas: tuple[Kappa, ...]
    one_only: int
    other_masks: int


@dataclass(frozen=True)
class Disagreement:
    """A VOI on which curators decided differently.

    Attributes
    ----------
    source, voi_id, layer : str
    words : str
        What each of them says.
    """

    source: str
    voi_id: str
    layer: str
    words: str


@dataclass(frozen=True)
class Comparison:
    """What `compare_errata` found.

    Attributes
    ----------
    agreements : tuple of Agreement
        Of each pair of overlays.
    disagreements : tuple of Disagreement
        By source and name of the VOI.
    """

    agreements: tuple[Agreement, ...]
    disagreements: tuple[Disagreement, ...]


def compare_errata(
    overlays: Sequence[str | Path], *, to_list: str | Path | None = None
) -> Comparison:
    """Compare what curators decided: agreement, and a list to adjudicate.

    Parameters
    ----------
    overlays : sequence of paths
        One for each curator.
    to_list : path, optional
        CSV table for the VOIs on which they differ, in the order of their names; `triage --list`
        opens it.

    Raises
    ------
    ErrataError
        Fewer than two, not overlays, or the list cannot be written.
    """
    found = read_opinions([Path(path) for path in overlays], least=2)
    agreements = tuple(_agreement(one, other) for one, other in combinations(found, 2))
    differing = tuple(
        disagreement(some) for some in opinions_by_voi(found).values() if conflict(some)
    )
    if to_list is not None:
        try:
            write_bytes(Path(to_list), _table(differing))
        except OSError as error:
            raise ErrataError(f"{to_list}: cannot be written: {error.strerror}") from error
    return Comparison(agreements, differing)


def opinions_by_voi(found: Sequence[Opinions]) -> dict[Key, list[Opinion]]:
    """Opinions on each VOI, in the order of the overlays; VOIs by source and name."""
    keys = sorted({key for one in found for key in one.by_voi})
    return {key: [one.by_voi[key] for one in found if key in one.by_voi] for key in keys}


def conflict(opinions: Sequence[Opinion]) -> bool:
    """Whether decisions on a VOI cannot stand together.

    One that follows another, as a verdict on a mask that an edit made, stands with it.
    """
    standing: list[Opinion] = []
    for opinion in opinions:
        if opinion.decision is None:
            continue
        followed = next((one for one in standing if opinion.follows(one)), None)
        if followed is not None:
            standing.remove(followed)
            opinion = Opinion(opinion.overlay, (*followed.steps, *opinion.steps))
        standing.append(opinion)
    return len({opinion.effect for opinion in standing}) > 1


def disagreement(opinions: Sequence[Opinion]) -> Disagreement:
    """Say what each of some opinions on a VOI is."""
    first = opinions[0].steps[0]
    words = "; ".join(opinion.words() for opinion in opinions)
    return Disagreement(first.source, first.voi_id, first.layer, words)


def _table(disagreements: Sequence[Disagreement]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", "voi_id", "layer", "rule", "words"])
    for one in disagreements:
        writer.writerow([one.source, one.voi_id, one.layer, "disagreement", one.words])
    return text.getvalue().encode()


def _agreement(one: Opinions, other: Opinions) -> Agreement:
    first = {key: o for key, o in one.by_voi.items() if o.decision is not None}
    second = {key: o for key, o in other.by_voi.items() if o.decision is not None}
    shared = first.keys() & second.keys()
    pairs = [
        (first[key], second[key])
        for key in sorted(shared)
        if first[key].before == second[key].before
    ]
    kappas = [_kappa(OVERALL, [(str(a.decision), str(b.decision)) for a, b in pairs])]
    for decision in sorted({str(o.decision) for pair in pairs for o in pair}):
        kappas.append(
            _named(decision, [(a.decision == decision, b.decision == decision) for a, b in pairs])
        )
    for reason in sorted({reason for pair in pairs for o in pair for reason in o.reasons}):
        kappas.append(
            _named(reason, [(reason in a.reasons, reason in b.reasons) for a, b in pairs])
        )
    return Agreement(
        first=one.overlay.name,
        second=other.overlay.name,
        kappas=tuple(kappas),
        one_only=len(first.keys() ^ second.keys()),
        other_masks=len(shared) - len(pairs),
    )


def _named(question: str, pairs: Sequence[tuple[bool, bool]]) -> Kappa:
    told = [("yes" if a else "no", "yes" if b else "no") for a, b in pairs]
    counts = sum(a for a, _ in pairs), sum(b for _, b in pairs)
    return _kappa(question, told, *counts)


def _kappa(
    question: str,
    pairs: Sequence[tuple[str, str]],
    first: int | None = None,
    second: int | None = None,
) -> Kappa:
    n = len(pairs)
    if not n:
        return Kappa(question, 0, first, second, None, None, "no VOI that both decided on")
    equal = sum(a == b for a, b in pairs)
    ones, others = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    # In whole numbers, so that agreement by chance alone is told exactly.
    chance = sum(count * others[word] for word, count in ones.items())
    if chance == n * n:
        why = f"both said {next(iter(ones))} of all {n}"
        return Kappa(question, n, first, second, 1.0, None, why)
    kappa = (equal * n - chance) / (n * n - chance)
    return Kappa(question, n, first, second, equal / n, kappa)
