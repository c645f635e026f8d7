"""The jury: a mask that several witnesses of the image agree on, held by the lines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from uls_data.measure.lines import Lines
from uls_data.measure.overlap import dice
from uls_data.pseudomask.bone import surroundings
from uls_data.pseudomask.bounds import Bounds, end_point_vox
from uls_data.pseudomask.chart import Chart
from uls_data.pseudomask.features import LOG_RATIO, RADII, RAYS, TURN, features
from uls_data.pseudomask.key_slice import KeySlice, PseudoMask
from uls_data.pseudomask.network import Network
from uls_data.pseudomask.quality import Quality
from uls_data.pseudomask.star import outline

_ROUNDING = 1e-9
_LONG_OVERSHOOT, _SHORT_OVERSHOOT = 0.6, 1.3
# Below this range of HU around the lines there is nothing to see: the prior decides.
FLATTEST_HU = 5
# The prior's vote in log odds: so much per radius of distance from it, at an end point and midway
# between two, up to so much. Where a reader put an end point the lesion ends, whatever the network
# says about that tissue; between end points the prior only guesses. Chosen on odd-numbered
# sarcomas, each judged by a network fitted without it (docs/2d-masks.md).
PRIOR_VOTE = (20.0, 2.5, 3.0)
# Spread of the log radius that the star outline expects at and between end points.
_AT_END, _BETWEEN = 0.06, 0.12
_EVIDENCE, _SMOOTHNESS = 3.0, 5.0

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What the witnesses say of a crop.

    Attributes
    ----------
    masks : dict of ndarray of bool
        By witness: `prior`, `star`, `network`, and what the jury decides: `fused`.
    measures : dict of float
        What predicts how good the fused mask is.
    scores : dict of dict of float
        By witness: how it agrees with the fused mask and with the lines.
    """

    masks: dict[str, Mask]
    measures: dict[str, float]
    scores: dict[str, dict[str, float]]


def jury(key_slice: KeySlice, quality: Quality | None = None) -> PseudoMask:
    """Mask of a lesion from image and lines.

    It is one 4-connected component without holes, holds the quadrilateral of the end
    points less bone beside the lesion, passes near every end point that is not in bone and stays
    inside the lines' box (`bounds`). Where the image is flat it is the quarter-ellipses, held by
    the same bounds.

    Parameters
    ----------
    quality : Quality, optional
        What predicts the Dice; else what comes with the package.
    """
    verdict, mask = judged(key_slice)
    scores = tuple(
        (witness, measure, value)
        for witness, found in verdict.scores.items()
        for measure, value in found.items()
    )
    return PseudoMask(
        mask,
        scores,
        predicted_dice=(quality or shipped_quality()).predicted(verdict.measures)
        * _crossed(key_slice.lines),
        uncertainty=verdict.measures["disagreement"],
    )


def _crossed(lines: Lines) -> float:
    """Share of the foretold Dice that is left where the lines do not cross inside each other.

    Fitted on the odd-numbered sarcomas with short axes moved off the lesion (118 masks, true Dice
    .27 below what was foretold); on the even ones the mean error falls from .27 to .10.
    """
    long, short = lines.overshoot()
    return float(np.exp(-_LONG_OVERSHOOT * long - _SHORT_OVERSHOOT * short))


def judged(key_slice: KeySlice) -> tuple[Verdict, Mask]:
    """Return what the witnesses say, and the fused mask on the grid of the whole slice."""
    crop, (x, y) = surroundings(key_slice)
    verdict = judge(crop)
    fused = verdict.masks["fused"]
    mask = np.zeros(key_slice.hu.shape, dtype=bool)
    mask[x : x + fused.shape[0], y : y + fused.shape[1]] = fused
    return verdict, mask


def judge(crop: KeySlice, network: Network | None = None) -> Verdict:
    """Hear all witnesses on a crop; with a network of your own instead of what is shipped."""
    chart = Chart.of(crop.lines, crop.outward_vox)
    turn, radius = chart.coordinates((crop.hu.shape[0], crop.hu.shape[1]))
    bounds = Bounds.of(crop)
    prior = bounds.applied(radius <= 1 + _ROUNDING)
    seen = features(crop, chart)
    if np.ptp(crop.hu) < FLATTEST_HU:
        inside = np.where(radius <= 1 + _ROUNDING, 1.0, 0.0)
        masks = {"prior": prior, "fused": prior}
    else:
        inside = probability(network or shipped_network(), seen, turn, radius)
        cut, _ = best_cut(inside)
        masks = {
            "prior": prior,
            "star": bounds.applied(_star(seen, turn, radius)),
            "network": _free(inside >= 0.5, prior),
            "fused": bounds.applied(inside >= cut),
        }
    scores = {name: _scores(mask, masks["fused"], crop) for name, mask in masks.items()}
    return Verdict(masks, _measures(crop, chart, seen, inside, masks), scores)


def best_cut(inside: Floats) -> tuple[float, float]:
    """Threshold of a probability map whose mask has the highest expected Dice, and that Dice."""
    ordered = np.sort(inside, axis=None)[::-1]
    count = np.arange(1, ordered.size + 1)
    expected = 2 * np.cumsum(ordered) / (count + ordered.sum())
    at = int(expected.argmax())
    return float(ordered[at]), float(expected[at])


@cache
def shipped_network() -> Network:
    """Read the weights that come with the package."""
    return Network.from_json(shipped("network.json"))


@cache
def shipped_quality() -> Quality:
    """Read the calibration that comes with the package."""
    return Quality.from_json(shipped("quality.json"))


def shipped(name: str) -> str:
    """Text of a file that comes with the package."""
    return (resources.files("uls_data.pseudomask") / name).read_text()


def probability(
    network: Network, seen: NDArray[np.float32], turn: Floats, radius: Floats
) -> Floats:
    """Probability of every pixel, by the mean log odds over the chart's four symmetries."""
    odds = at_pixels(node_odds(network, seen), turn, radius)
    odds += prior_vote(turn, radius)
    probability: Floats = 1 / (1 + np.exp(-np.clip(odds, -30, 30)))
    probability[radius > RADII[-1]] = 0
    return probability


def node_odds(network: Network, seen: NDArray[np.float32]) -> Floats:
    """Log odds of every node, shape (rays, radii): the mean over the chart's four symmetries."""
    mirrored = np.roll(seen[::-1], 1, axis=0)
    half = RAYS // 2
    four = np.stack([seen, mirrored, np.roll(seen, half, axis=0), np.roll(mirrored, half, axis=0)])
    a, b, c, d = network.logits(four).astype(np.float64)
    back: Floats = a + np.roll(c, -half, axis=0)
    back += np.roll((b + np.roll(d, -half, axis=0)), -1, axis=0)[::-1]
    return back / 4


def at_pixels(odds: Floats, turn: Floats, radius: Floats) -> Floats:
    """Bring what nodes hold to pixels, between nodes in proportion."""
    closed = np.concatenate([odds, odds[:1]])
    node = np.clip((radius - RADII[0]) / (RADII[1] - RADII[0]), 0, len(RADII) - 1)
    found: Floats = ndimage.map_coordinates(
        closed, [turn * (RAYS / 4), node], order=1, mode="nearest"
    )
    return found


def prior_vote(
    turn: Floats, radius: Floats, vote: tuple[float, float, float] = PRIOR_VOTE
) -> Floats:
    """Log odds that the quarter-ellipses give pixels of the chart.

    Parameters
    ----------
    vote : tuple of 3 float
        Per radius at an end point, per radius midway between two, and at most.
    """
    at_end, between, most = vote
    slope = between + (at_end - between) * np.cos(np.pi * turn) ** 4
    odds: Floats = np.clip(slope * (1 - radius), -most, most)
    return odds


def _star(seen: NDArray[np.float32], turn: Floats, radius: Floats) -> Mask:
    between = (1 - np.cos(2 * np.pi * TURN)) / 2
    spread = _AT_END + (_BETWEEN - _AT_END) * np.minimum(1, 2 * between)
    evidence = _EVIDENCE * seen[:, :, LOG_RATIO].astype(np.float64)
    edge = outline(evidence, RADII, 2 / (RAYS * spread**2), _SMOOTHNESS)
    place = turn * (RAYS / 4)
    ray = np.floor(place).astype(int) % RAYS
    share = place - np.floor(place)
    mask: Mask = radius <= edge[ray] * (1 - share) + edge[(ray + 1) % RAYS] * share
    return mask


def _free(mask: Mask, otherwise: Mask) -> Mask:
    """Largest piece of a mask that nothing holds."""
    labels, count = ndimage.label(mask)
    if count == 0:
        return otherwise
    largest: Mask = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return largest


def _scores(mask: Mask, fused: Mask, crop: KeySlice) -> dict[str, float]:
    drawn = crop.lines.lengthened(crop.outward_vox)
    found = Lines.from_mask(mask)
    scores = {
        "dice_to_fused": dice(mask, fused),
        "end_point_vox": float(end_point_vox(mask, drawn.points).max()),
    }
    if found is not None:
        scores["long_error_vox"] = found.long_vox - crop.lines.long_vox
        scores["short_error_vox"] = found.short_vox - crop.lines.short_vox
    return scores


def _measures(
    crop: KeySlice,
    chart: Chart,
    seen: NDArray[np.float32],
    inside: Floats,
    masks: dict[str, Mask],
) -> dict[str, float]:
    fused = masks["fused"]
    pairs = [dice(a, b) for a, b in combinations(masks.values(), 2)]
    network = masks.get("network", fused)
    points = crop.lines.lengthened(crop.outward_vox).points
    lengths = np.hypot(*chart.arms.T)
    core = fused & (ndimage.distance_transform_edt(fused) > 1)
    ring = ndimage.binary_dilation(fused, iterations=4) & ~ndimage.binary_dilation(fused)
    return {
        "disagreement": 1 - float(np.mean(pairs)),
        "expected": best_cut(inside)[1],
        "to_prior": dice(network, masks["prior"]),
        "to_star": dice(network, masks.get("star", fused)),
        "held": dice(network, fused),
        "misfit": float(end_point_vox(network, points).mean()) / crop.lines.long_vox,
        "contrast": _contrast(crop.hu[core], crop.hu[ring]),
        "edge": float(np.log1p(seen[:, :, LOG_RATIO + 1].max(axis=1).mean())),
        "log_long": float(np.log(crop.lines.long_vox)),
        "aspect": crop.lines.short_vox / crop.lines.long_vox,
        "lopsided": float(np.abs(np.log(lengths / np.roll(lengths, 2))).max()),
    }


def _contrast(core: NDArray[np.integer], ring: NDArray[np.integer]) -> float:
    """Log of 1 + contrast to noise of core and ring; 0 where there are too few pixels."""
    if core.size < 2 or ring.size < 2:
        return 0.0
    noise = np.hypot(np.std(core), np.std(ring)) + 1.0
    return float(np.log1p(abs(float(np.median(core)) - float(np.median(ring))) / noise))
