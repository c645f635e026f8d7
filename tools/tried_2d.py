"""What other votes of the prior, neighbouring slices and rules about air give (docs/2d-masks.md).

Neither neighbours nor air gain enough to be in the package. Lines are drawn across human masks of
the sarcomas of the IBSI set, as they are and with 5 % (twice) and 15 % noise, on a few slices of
each patient.

    python -m tools.tried_2d DATA --networks FIT    # odd ones, by networks that did not see them
    python -m tools.tried_2d DATA --even            # even ones, by the network that is shipped

FIT holds `fold-0.json` and `fold-1.json` of `tools.fit_jury`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tools.fit_jury import FOLDS, cases_of, fold_of
from uls_data.ids import draw
from uls_data.measure.lines import Lines, jittered
from uls_data.measure.overlap import dice
from uls_data.pseudomask.bone import surroundings
from uls_data.pseudomask.bounds import Bounds
from uls_data.pseudomask.chart import Chart
from uls_data.pseudomask.features import RADII, features
from uls_data.pseudomask.jury import best_cut, prior_vote, probability, shipped_network
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.network import Network
from uls_data.scoring.trials import SMALLEST_PIXELS, largest_component
from uls_data.voi import hounsfield
from uls_data.volumes import read_volume

NOISE = (0.0, 0.05, 0.05, 0.15)
_PLUS = ndimage.generate_binary_structure(2, 1)
# Smaller dark regions are noise; darker lesions are air themselves.
_SMALLEST_AIR_PIXELS, _LESION_HU = 20, -400
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """One slice with lines: the jury's log odds for it and for both neighbours."""

    hu: NDArray[np.integer]
    odds: list[NDArray[np.float64]]
    turn: NDArray[np.float64]
    radius: NDArray[np.float64]
    prior: Mask
    bounds: Bounds
    truth: Mask

    def fused(self, neighbours: float) -> Mask:
        """The jury's mask, where each neighbouring slice has such a share of the vote."""
        below, own, above = self.odds
        mixed = (1 - 2 * neighbours) * own + neighbours * (below + above)
        inside = 1 / (1 + np.exp(-mixed))
        return self.bounds.applied(inside >= best_cut(inside)[0])

    def voted(self, *vote: float) -> Mask:
        """The jury's mask, were the prior's vote such (`prior_vote`)."""
        at_end, between, most = vote
        odds = self.odds[1] - prior_vote(self.turn, self.radius)
        odds += prior_vote(self.turn, self.radius, (at_end, between, most))
        inside = np.where(self.radius > RADII[-1], 0, 1 / (1 + np.exp(-odds)))
        return self.bounds.applied(inside >= best_cut(inside)[0])

    def air(self, level_hu: int) -> Mask:
        """Dark regions."""
        labels, _ = ndimage.label(self.hu < level_hu)
        large = np.bincount(labels.ravel()) >= _SMALLEST_AIR_PIXELS
        large[0] = False
        found: Mask = large[labels]
        return found

    def grown_to_air(self, pixels: int) -> Mask:
        """Mask, and tissue between it and air that is so thin."""
        mask, air = self.fused(0), self.air(-300)
        if np.median(self.hu[mask]) < _LESION_HU:
            return mask
        near = ndimage.binary_dilation(mask, _PLUS, pixels)
        near &= ndimage.binary_dilation(air, _PLUS, pixels)
        return self.bounds.applied(mask | (near & ~air))

    def less_air(self) -> Mask:
        """Mask without the air in it: its largest piece."""
        mask = self.fused(0)
        left = mask & ~self.air(_LESION_HU)
        if 2 * left.sum() <= mask.sum() or np.median(self.hu[mask]) < _LESION_HU:
            return mask
        return largest_component(left)


TRIED: dict[str, Callable[[Seen], Mask]] = {
    "quarter-ellipses": lambda seen: seen.prior,
    "jury": lambda seen: seen.fused(0),
    "vote 0 / 0 / 0": lambda seen: seen.voted(0, 0, 0),
    "vote 5 / 5 / 1.5": lambda seen: seen.voted(5, 5, 1.5),
    "vote 7 / 7 / 2": lambda seen: seen.voted(7, 7, 2),
    "vote 30 / 2.5 / 3": lambda seen: seen.voted(30, 2.5, 3),
    "neighbours 0.1 each": lambda seen: seen.fused(0.1),
    "neighbours 0.2 each": lambda seen: seen.fused(0.2),
    "neighbours 1/3 each": lambda seen: seen.fused(1 / 3),
    "1 px to air": lambda seen: seen.grown_to_air(1),
    "2 px to air": lambda seen: seen.grown_to_air(2),
    "less air": lambda seen: seen.less_air(),
}


def slices_of(case: Path, count: int, network: Network) -> Iterator[tuple[int, Seen]]:
    """Slices of a patient, evenly chosen, each with every noise (its number in `NOISE`)."""
    scan, marked = (read_volume(case / f"CT_{name}.nii.gz", case) for name in ("image", "mask"))
    there = np.flatnonzero((marked.ras != 0).sum(axis=(0, 1)) >= SMALLEST_PIXELS)
    chosen = np.unique(np.linspace(0, len(there) - 1, count).round().astype(int))
    last = marked.ras.shape[2] - 1
    for z in there[chosen].tolist():
        truth = largest_component(marked.ras[:, :, z] != 0)
        clean = Lines.from_mask(truth)
        if clean is None or truth.sum() < SMALLEST_PIXELS:
            continue
        near = [
            hounsfield(scan.ras[:, :, at], scan.slope, scan.intercept)[0]
            for at in (max(z - 1, 0), z, min(z + 1, last))
        ]
        for number, share in enumerate(NOISE):
            random = np.random.default_rng(draw(1 << 62, "tried", case.name, z, number))
            lines = jittered(clean, random, share)
            if lines.problem((truth.shape[0], truth.shape[1])) is None:
                yield number, _seen(near, lines, truth, network)


def _seen(near: list[NDArray[np.integer]], lines: Lines, truth: Mask, network: Network) -> Seen:
    crop, (x, y) = surroundings(KeySlice(near[1], lines, (1.0, 1.0)))
    here = slice(x, x + crop.hu.shape[0]), slice(y, y + crop.hu.shape[1])
    chart, bounds = Chart.of(crop.lines), Bounds.of(crop)
    turn, radius = chart.coordinates((crop.hu.shape[0], crop.hu.shape[1]))
    odds = []
    for hu in near:
        seen = features(replace(crop, hu=hu[here]), chart)
        inside = np.clip(probability(network, seen, turn, radius), 1e-12, 1 - 1e-12)
        odds.append(np.log(inside / (1 - inside)))
    prior = bounds.applied(radius <= 1 + 1e-9)
    return Seen(crop.hu, odds, turn, radius, prior, bounds, truth[here])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--networks", type=Path, help="folder of fold-0.json and fold-1.json")
    which.add_argument("--even", action="store_true")
    parser.add_argument("--slices", type=int, default=4, help="of each patient")
    given = parser.parse_args()
    if given.even:
        cases = sorted(p.name for p in given.data.glob("STS_*") if int(p.name[-3:]) % 2 == 0)
        networks = [shipped_network()] * FOLDS
    else:
        cases = cases_of(given.data)
        texts = [(given.networks / f"fold-{n}.json").read_text() for n in range(FOLDS)]
        networks = [Network.from_json(text) for text in texts]
    found: dict[str, list[list[float]]] = {name: [] for name in TRIED}
    for case in cases:
        of_case: dict[str, list[list[float]]] = {name: [[] for _ in NOISE] for name in TRIED}
        network = networks[fold_of(case, cases)]
        for number, seen in slices_of(given.data / case, given.slices, network):
            for name, method in TRIED.items():
                of_case[name][number].append(dice(method(seen), seen.truth))
        for name, values in of_case.items():
            clean, one, other, far = (float(np.mean(some)) for some in values)
            found[name].append([clean, (one + other) / 2, far])
    prior = np.array(found["quarter-ellipses"])
    print(f"{len(cases)} patients: clean, 5 %, 15 %; worst patient against the prior, clean")
    for name, rows in found.items():
        table = np.array(rows)
        print(f"{name:20}", *table.mean(axis=0).round(4), (table - prior)[:, 0].min().round(4))


if __name__ == "__main__":
    main()
