"""Fit a `network_3d.json` for the jury in 3D, from public CT and made-up lesions.

    python -m tools.fit_jury_3d DATA --nodules VOIS --to FOLDER --workers 2
    python -m tools.fit_jury_3d DATA --nodules VOIS --to FOLDER --score

DATA, VOIS and FOLDER are those of `tools.fit_jury`, which must have ended: its networks look at the
measured slices. Odd-numbered patients are learned from, but STS_003; nodules, where the crop
shows a slice above and one below; and made-up lesions (`tools.madeup`). `--score` shows what
networks that learned from one half of the patients, nodules and made-up lesions make of the
other half, with several votes of the ellipsoid. The same command writes the same bytes, as
`tools.fit_jury` does.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import cc3d
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tools import madeup
from tools.fit import fit
from tools.fit_jury import ABOUT, FOLDS, SUMS, Fitting, cases_of, fold_of
from uls_data.engine import Pool, run_tasks
from uls_data.ids import draw
from uls_data.io import atomic_write, write_bytes
from uls_data.measure.ellipsoid import ellipsoid
from uls_data.measure.lines import jittered
from uls_data.measure.overlap import dice
from uls_data.network.prompt import Drawn, longest, simulated
from uls_data.pseudomask import jury_3d
from uls_data.pseudomask.features import grid
from uls_data.pseudomask.jury import judge
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.network import Network
from uls_data.pseudomask.slab import Part, Slab
from uls_data.voi import hounsfield
from uls_data.volumes import read_volume

STEPS = 1800
MADE_UP = 160
# By kind of lesion: how often lines are drawn, how many slices of each, and what all lesions of
# the kind count for together.
KINDS = {"sarcoma": (10, 10, 1.0), "nodule": (2, 9, 0.5), "made-up": (3, 9, 0.5)}
# Noise on the end points, SD as a share of the axis: up to so much, but none on the first lines.
MOST_NOISE = 0.075
NOISE = (0.0, 0.05)
VOTES = ((0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (4.0, 3.0))
KIND = "_3d"  # of a fit, in the names of its files
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Source:
    """One lesion: where it lies, or which made-up one it is."""

    kind: str
    name: str
    group: str
    fold: int
    folder: Path

    def read(self) -> tuple[NDArray[np.integer], NDArray[np.bool_], Triple]:
        """HU and the largest piece of the mask, shape (x, y, z), and spacing in mm."""
        if self.kind == "made-up":
            random = np.random.default_rng(draw(1 << 53, "made-up", int(self.name)))
            made, lesion, spacing_mm = madeup.scan(random)
            return made, _largest(lesion), spacing_mm
        names = ("image", "mask" if self.kind == "sarcoma" else "nodule_mask")
        pair = [
            self.folder / self.name / f"CT_{name}.nii.gz"
            if self.kind == "sarcoma"
            else self.folder / name / self.name
            for name in names
        ]
        scan, marked = (read_volume(path, self.folder) for path in pair)
        hu, _ = hounsfield(scan.ras, scan.slope, scan.intercept)
        x, y, z = np.linalg.norm(scan.affine[:3, :3], axis=0).tolist()
        return hu, _largest(marked.ras != 0), (x, y, z)

    def networks(self, folder: Path, *, unseen: bool) -> tuple[Network, Network]:
        """Those for the measured slice and for others, of which the latter has not seen it."""
        flat = Fitting(self.fold if self.kind == "sarcoma" else None, folder)
        solid = Fitting(self.fold, folder, KIND)
        texts = [one.path.read_text() for one in (flat, solid if unseen else flat)]
        return Network.from_json(texts[0]), Network.from_json(texts[1])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    labels = cc3d.connected_components(mask, connectivity=6)
    sizes = np.bincount(labels.ravel())[1:]
    largest: NDArray[np.bool_] = labels == 1 + sizes.argmax() if sizes.size else mask
    return largest


def sources_of(data: Path, vois: Path) -> list[Source]:
    """All lesions, in a fixed order."""
    cases = cases_of(data)
    found = [Source("sarcoma", case, case, fold_of(case, cases), data) for case in cases]
    names = sorted(path.name for path in (vois / "image").glob("LIDC-IDRI-*.nii.gz"))
    patients = sorted({name[:14] for name in names})
    found += [Source("nodule", n, n[:14], fold_of(n[:14], patients), vois) for n in names]
    return found + [Source("made-up", str(n), str(n), n % FOLDS, Path()) for n in range(MADE_UP)]


def drawn_on(
    source: Source, hu: NDArray[np.integer], mask: NDArray[np.bool_], spacing_mm: Triple
) -> list[Drawn]:
    """Lines that readers may draw; none where the crop does not show where the lesion ends."""
    there = np.flatnonzero(mask.any(axis=(0, 1)))
    if source.kind == "nodule" and (
        len(there) < 3 or there[0] == 0 or there[-1] == mask.shape[2] - 1
    ):
        return []
    return simulated(np.ascontiguousarray(mask.T), spacing_mm)


def slab_of(hu: NDArray[np.integer], drawn: Drawn) -> tuple[Slab, tuple[slice, slice, slice]]:
    """Slab about lines, and where it lies."""
    measured = KeySlice(hu[:, :, drawn.slice_vox], drawn.lines, drawn.spacing_mm[:2])
    x, y, z = (slice(0, n) for n in hu.shape)
    part = Part.about(measured, drawn.slice_vox, (x, y, z), drawn.spacing_mm)
    assert part is not None  # its lines were looked at
    return Slab.of(hu[part.box], part.measured, part.slice_vox, drawn.spacing_mm), part.box


@dataclass(frozen=True)
class Looking:
    """A lesion to make nodes of, or to score."""

    source: Source
    folder: Path


def nodes_of(task: Looking) -> tuple[list[NDArray[np.float16]], list[NDArray[np.float16]]]:
    """Features and targets (share inside the human mask) of slices about lines on a lesion."""
    hu, mask, spacing_mm = task.source.read()
    candidates = drawn_on(task.source, hu, mask, spacing_mm)
    network, _ = task.source.networks(task.folder, unseen=False)
    draws, slices, _ = KINDS[task.source.kind]
    x, y = [], []
    for number in range(draws if candidates else 0):
        random = np.random.default_rng(draw(1 << 62, "fit 3d", task.source.name, number))
        drawn = longest(candidates)
        if number:
            drawn = candidates[int(random.integers(len(candidates)))]
            drawn = drawn.redrawn(random, float(random.uniform(0, MOST_NOISE)))
        if drawn.lines.problem((hu.shape[0], hu.shape[1])) is not None:
            continue
        slab, box = slab_of(hu, drawn)
        at = np.moveaxis(grid(slab.chart), 2, 0)
        seen = dict(slab.features(network))
        chosen = random.choice(sorted(seen), min(slices, len(seen)), replace=False)
        for z in chosen.tolist():
            truth = mask[box][:, :, z].astype(np.float32)
            x.append(seen[z].astype(np.float16))
            y.append(ndimage.map_coordinates(truth, at, order=1).astype(np.float16))
    return x, y


def write_nodes(sources: list[Source], folder: Path, pool: Pool) -> None:
    """Write features and targets of all lesions, and whose they are."""
    tasks = [Looking(source, folder) for source in sources]
    found = {task.source: nodes for task, nodes in run_tasks(nodes_of, tasks, pool, lost=_lost)}
    slices = [(one, x, y) for one in sources for x, y in zip(*found[one], strict=True)]
    table: dict[str, NDArray[Any]] = {
        "x": np.stack([x for _, x, _ in slices]),
        "y": np.stack([y for _, _, y in slices]),
        "kind": np.array([one.kind for one, _, _ in slices]),
        "group": np.array([one.group for one, _, _ in slices]),
        "fold": np.array([one.fold for one, _, _ in slices]),
    }
    with atomic_write(folder / "nodes_3d.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **table)


def fitted(fitting: Fitting) -> str:
    """Fit one network on the nodes in its folder, all groups of a kind counting alike."""
    with np.load(fitting.folder / "nodes_3d.npz") as nodes:
        used = nodes["fold"] != fitting.fold
        x, y = nodes["x"][used], nodes["y"][used]
        kind, group = nodes["kind"][used], nodes["group"][used].tolist()
    count = Counter(group)
    share = np.array([1 / count[name] for name in group])
    for name, (_, _, weight) in KINDS.items():
        here = kind == name
        if here.any():
            share[here] *= weight / share[here].sum()
    network = fit(x, y, share, STEPS)
    about: dict[str, Any] = {"steps": STEPS, "seed": 0, "most_noise": MOST_NOISE}
    about |= {"made_up": MADE_UP, "draws_slices_weight": KINDS}
    source = ABOUT["source"].replace("tools.fit_jury ", "tools.fit_jury_3d ")
    text = network.to_json(**ABOUT | {"source": source}, fit=about)
    write_bytes(fitting.path, text.encode())
    return ""


def scored(task: Looking) -> dict[str, float]:
    """Dice in 3D by noise and method, of a lesion that the network has not seen."""
    hu, mask, spacing_mm = task.source.read()
    candidates = drawn_on(task.source, hu, mask, spacing_mm)
    flat, solid = task.source.networks(task.folder, unseen=True)
    found = {}
    for noise in NOISE if candidates else ():
        random = np.random.default_rng(draw(1 << 62, "score 3d", task.source.name))
        drawn = longest(candidates)
        lines = jittered(drawn.lines, random, noise)
        if lines.problem((hu.shape[0], hu.shape[1])) is not None:
            continue
        slab, box = slab_of(hu, Drawn(lines, drawn.slice_vox, spacing_mm))
        truth, at = mask[box], drawn.slice_vox - box[2].start
        missed = mask.sum() - truth.sum()
        plane = judge(slab.crop, flat).masks["fused"]
        least = ellipsoid(slab.crop.lines, at, spacing_mm, truth.shape)
        least[:, :, at] = plane
        made = {"ellipsoid": least}
        for vote in VOTES:
            odds = jury_3d.log_odds(slab, solid, flat, vote)
            one_made = jury_3d.cut(odds, plane, at)
            made[f"{vote[0]:g} up to {vote[1]:g}"] = one_made.mask
            if vote == jury_3d.ELLIPSOID_VOTE:
                found[f"{noise:.0%} (predicted)"] = one_made.predicted_dice
        for name, one in made.items():
            # What lies beyond the slab is lost to all of them.
            both = dice(one, truth) * (one.sum() + truth.sum())
            found[f"{noise:.0%} {name}"] = both / (one.sum() + truth.sum() + missed)
    return found


def show(sources: list[Source], folder: Path, pool: Pool) -> None:
    """Print mean Dice by kind of lesion."""
    tasks = [Looking(source, folder) for source in sources]
    table: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for task, found in run_tasks(scored, tasks, pool, lost=_lost):
        for name, value in found.items():
            table[task.source.kind][name].append(value)
    for kind, by_name in table.items():
        for name, values in by_name.items():
            print(f"{kind:8} {name:18} {np.mean(values):.4f} ({len(values)})")


def _lost(task: object, detail: str) -> NoReturn:
    raise SystemExit(f"{task}: {detail}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="folder of the sarcomas")
    parser.add_argument("--nodules", type=Path, required=True, help="folder of the nodules")
    parser.add_argument("--to", type=Path, required=True, help="folder of tools.fit_jury")
    parser.add_argument("--workers", type=int, default=0, help="local processes")
    parser.add_argument("--score", action="store_true", help="show what the halves are worth")
    arguments = parser.parse_args()
    folder, pool = arguments.to, Pool(arguments.workers)
    sources = sources_of(arguments.data, arguments.nodules)
    if not (folder / "nodes_3d.npz").exists():
        write_nodes(sources, folder, pool)
    fits = [Fitting(fold, folder, KIND) for fold in (None, *range(FOLDS))]
    left = [fitting for fitting in fits if not fitting.path.exists()]
    for done, _ in run_tasks(fitted, left, pool, lost=_lost):
        print(f"{done.path}: fitted", flush=True)
    if arguments.score:
        show(sources, folder, pool)


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in SUMS.items()):
        # numpy reads these when it is loaded, which it is by now.
        command = [sys.executable, "-m", "tools.fit_jury_3d", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | SUMS)
    # Workers find functions by the name of their module, and know no `__main__`.
    from tools.fit_jury_3d import main as started

    started()
