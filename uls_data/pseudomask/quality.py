"""How good a mask is expected to be, learned where human masks exist."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = Sequence[float] | Floats

_RIDGE = 1e-2
_HIGHEST = 0.999
_STEPS = 12
_DIGITS = 5


@dataclass(frozen=True)
class Quality:
    """A linear score of measures, then a rising curve from score to Dice.

    Attributes
    ----------
    names : tuple of str
        Measures in the order of the weights.
    mean, spread, weights : ndarray, shape (measures,)
    scores, dice : ndarray, shape (steps,)
        Corners of the curve, both rising.
    """

    names: tuple[str, ...]
    mean: Floats
    spread: Floats
    weights: Floats
    scores: Floats
    dice: Floats

    def predicted(self, measures: dict[str, float]) -> float:
        """Dice to expect against a human mask."""
        return float(self._dice(self._score(_table([measures], self.names)))[0])

    def _score(self, table: Floats) -> Floats:
        # What lies far outside the fit says no more than its edge does.
        score: Floats = np.clip((table - self.mean) / self.spread, -3, 3) @ self.weights
        return score

    def _dice(self, score: Floats) -> Floats:
        return np.interp(score, self.scores, self.dice)

    def to_json(self, **about: str) -> str:
        """Text of this calibration, with what is to be said about it first."""
        numbers = {
            name: np.round(getattr(self, name), _DIGITS).tolist()
            for name in ("mean", "spread", "weights", "scores", "dice")
        }
        return json.dumps({**about, "names": list(self.names), **numbers}, indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> Quality:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            It is something else.
        """
        try:
            found = json.loads(text)
            numbers = [
                np.array(found[name], dtype=np.float64)
                for name in ("mean", "spread", "weights", "scores", "dice")
            ]
            names = tuple(str(name) for name in found["names"])
        except KeyError as error:
            raise ValueError(f"no calibration: it has no field {error}") from error
        except (TypeError, RecursionError) as error:
            raise ValueError("no calibration: not an object of numbers") from error
        mean, spread, weights, scores, dice = numbers
        sizes = [part.shape for part in numbers]
        if sizes[:3] != [(len(names),)] * 3 or sizes[3] != sizes[4] or len(scores) < 1:
            raise ValueError(f"no calibration: numbers of shapes {sizes} for {len(names)} measures")
        if not all(np.isfinite(part).all() for part in numbers) or (spread <= 0).any():
            raise ValueError("no calibration: not all of its numbers are finite")
        return Quality(names, mean, spread, weights, scores, dice)


def calibrate(
    measures: Sequence[dict[str, float]],
    dice: Sequence[float],
    share: Sequence[float] | None = None,
) -> Quality:
    """Learn to predict the Dice from measures.

    Parameters
    ----------
    measures : sequence of dict
        `judge(...).measures` of lesions, all with the same names.
    dice : sequence of float
        Of the same masks against human ones.
    share : sequence of float, optional
        How much each lesion counts.

    Raises
    ------
    ValueError
        There are fewer lesions than measures.
    """
    names = tuple(sorted(measures[0]))
    table, truth = _table(measures, names), np.asarray(dice, dtype=np.float64)
    if len(truth) <= len(names):
        raise ValueError(f"{len(truth)} lesions are too few for {len(names)} measures")
    weight = np.ones(len(truth)) if share is None else np.asarray(share, dtype=np.float64)
    weight = weight / weight.sum()
    mean = weight @ table
    spread = np.sqrt(weight @ (table - mean) ** 2) + 1e-6
    scaled = np.clip((table - mean) / spread, -3, 3)
    # Dice crowds below 1: on this scale its errors are nearer to alike everywhere.
    target = -np.log(1 - np.minimum(truth, _HIGHEST))
    target = target - weight @ target
    normal = scaled.T @ (scaled * weight[:, None]) + _RIDGE * np.eye(len(names))
    weights = np.linalg.solve(normal, scaled.T @ (weight * target))
    score = scaled @ weights
    order = np.argsort(score, kind="stable")
    # Imported here: only a calibration needs it, and every worker would wait for it.
    from scipy.optimize import isotonic_regression

    rising = isotonic_regression(truth[order], weights=weight[order] + 1e-12).x
    # A few corners: the raw steps follow single lesions.
    scores, heights = [], []
    for part in np.array_split(np.arange(len(order)), min(_STEPS, len(order))):
        share_of_part = weight[order][part] + 1e-12
        scores.append(float(np.average(score[order][part], weights=share_of_part)))
        heights.append(float(np.average(rising[part], weights=share_of_part)))
    return Quality(names, mean, spread, weights, np.array(scores), np.array(heights))


def calibration_error(predicted: Numbers, dice: Numbers, bins: int = 10) -> float:
    """Mean distance of predicted and true Dice over bins of equal count, weighted by it."""
    guess, truth = np.asarray(predicted), np.asarray(dice)
    gaps = (
        len(part) * abs(guess[part].mean() - truth[part].mean())
        for part in calibration_bins(predicted, bins)
    )
    return float(sum(gaps)) / len(guess)


def calibration_bins(predicted: Numbers, bins: int) -> list[NDArray[np.intp]]:
    """Part predictions into bins of equal count, the lowest first: their indices."""
    order = np.argsort(predicted, kind="stable")
    return np.array_split(order, min(bins, len(order)))


def _table(measures: Sequence[dict[str, float]], names: tuple[str, ...]) -> Floats:
    return np.array([[one[name] for name in names] for one in measures], dtype=np.float64)
