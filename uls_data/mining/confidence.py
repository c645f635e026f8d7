"""How sure a row is, and what makes it less so."""

from __future__ import annotations

from math import prod

from uls_data.mining.mention import Mention

# Shares of belief that each doubt leaves. They rank rows for review, and are not probabilities:
# docs/reports.md says how well they rank.
_LEAVES = {
    "no_noun": 0.95,
    "borrowed_noun": 0.9,
    "contested_noun": 0.85,
    "no_place": 0.6,
    "borrowed_place": 0.8,
    "no_unit": 0.7,
    "one_axis": 0.93,
    "listed": 0.9,
    "bound": 0.65,
    "odd_size": 0.6,
    "no_reference": 0.75,
    "bare_reference": 0.98,
    "far_reference": 0.85,
    "distant_reference": 0.97,
    "reference_before": 0.93,
    "no_series": 0.9,
    "told_as_history": 0.7,
    "organ_with_reference": 0.7,
    "no_size": 0.5,
}
_SUREST = 0.98


def confidence_of(mention: Mention) -> float:
    """Confidence of a mention, 0 to 1, two decimals."""
    belief = _SUREST * prod(_LEAVES[doubt] for doubt in set(mention.doubts))
    if mention.target == "target" and mention.reference is not None:
        belief = 1 - (1 - belief) / 2
    return round(belief, 2)
