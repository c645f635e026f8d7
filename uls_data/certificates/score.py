"""One score of a mask out of many measures: the Dice to expect, monotone in each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator
from scipy import optimize
from scipy.special import expit

from uls_data.certificates.judged import WORSE, Judged

# A measure is used where so many of the masks have it.
_KNOWN_SHARE = 0.9
# Clipped to these quantiles of the masks that it is fitted on: beyond them it is not known.
_QUANTILES = (0.02, 0.5, 0.98)
_SHRINK = 0.001

Finite = Annotated[float, Field(allow_inf_nan=False)]
Slope = Annotated[float, Field(allow_inf_nan=False, ge=0)]


class Term(BaseModel):
    """One measure in a score: two straight pieces, neither of which may rise as it gets worse."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: str
    low: Finite
    middle: Finite
    high: Finite
    """Where the pieces end, of the measure times its sign in `WORSE`."""
    first: Slope
    second: Slope
    """How far the score's logit falls over each piece."""

    @field_validator("measure")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in WORSE:
            raise ValueError(f"no measure {name!r}; known: {', '.join(WORSE)}")
        return name


class Score(BaseModel):
    """Expected Dice of a mask: a logistic function of a sum of terms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    intercept: Finite
    terms: tuple[Term, ...]

    def expected_dice(self, masks: Sequence[Judged]) -> NDArray[np.float64]:
        """Dice to expect of masks; NaN where a measure that it needs is not known."""
        names = [term.measure for term in self.terms]
        values = np.array([mask.values(names) for mask in masks], float).reshape(
            len(masks), len(names)
        )
        logit = np.full(len(masks), self.intercept)
        for term, column in zip(self.terms, values.T, strict=True):
            pieces = _pieces(column * WORSE[term.measure], term.low, term.middle, term.high)
            logit -= term.first * pieces[:, 0] + term.second * pieces[:, 1]
        found: NDArray[np.float64] = expit(logit)
        return found


def fit_score(masks: Sequence[Judged]) -> Score | None:
    """Fit a score to masks whose Dice is known, each patient counting alike.

    A logistic regression of the Dice with constraints of sign: whatever is worse by any measure
    is never scored better. None where no measure is known of enough of them.
    """
    names = [name for name in WORSE if _known(masks, name) >= _KNOWN_SHARE]
    values = np.array([mask.values(names) for mask in masks]).reshape(len(masks), len(names))
    whole = np.isfinite(values).all(axis=1)
    used = [mask for mask, is_whole in zip(masks, whole, strict=True) if is_whole]
    if not names or not used:
        return None
    knots, columns = {}, []
    for name, column in zip(names, values[whole].T, strict=True):
        worse = column * WORSE[name]
        low, middle, high = (float(q) for q in np.quantile(worse, _QUANTILES))
        if low < high:
            knots[name] = low, middle, high
            columns.append(_pieces(worse, low, middle, high))
    if not knots:
        return None
    basis = np.concatenate(columns, axis=1)
    dice = np.array([mask.dice for mask in used], float)
    counts = Counter(mask.patient for mask in used)
    weight = np.array([1 / counts[mask.patient] for mask in used])
    weight /= weight.sum()

    def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit = parameters[0] - basis @ parameters[1:]
        # log(1 + exp(z)) - y z: cross entropy of a share.
        value = weight @ (np.logaddexp(0, logit) - dice * logit)
        value += _SHRINK * parameters[1:] @ parameters[1:] / 2
        slope = weight * (expit(logit) - dice)
        gradient = np.concatenate([[slope.sum()], -basis.T @ slope + _SHRINK * parameters[1:]])
        return float(value), gradient

    start = np.concatenate([[1.0], np.full(basis.shape[1], 0.1)])
    bounds = [(None, None)] + [(0, None)] * basis.shape[1]
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    slopes = [round(float(slope), 6) for slope in found.x[1:]]
    terms = [
        Term(measure=name, low=low, middle=middle, high=high, first=first, second=second)
        for (name, (low, middle, high)), first, second in zip(
            knots.items(), slopes[::2], slopes[1::2], strict=True
        )
    ]
    kept = tuple(term for term in terms if term.first or term.second)
    return Score(intercept=round(float(found.x[0]), 6), terms=kept) if kept else None


def _known(masks: Sequence[Judged], name: str) -> float:
    return sum(mask.measures.get(name) is not None for mask in masks) / max(1, len(masks))


def _pieces(
    worse: NDArray[np.float64], low: float, middle: float, high: float
) -> NDArray[np.float64]:
    """How far each value is along two pieces, 0 to 1; a piece without length stays 0."""
    first = np.clip(worse, low, middle) - low
    second = np.clip(worse, middle, high) - middle
    return np.stack([first / ((middle - low) or 1.0), second / ((high - middle) or 1.0)], axis=1)
