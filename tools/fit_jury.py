"""Fit a `network.json` and a `quality.json` for the jury, from public CT and made-up lesions.

    python -m tools.fit_jury DATA --nodules VOIS --to FOLDER --workers 3

DATA holds a folder per patient of the IBSI set's sarcomas (github.com/theibsi/data_sets,
`ibsi_validation/nifti`, CC BY 3.0): `STS_0NN/CT_image.nii.gz` and `CT_mask.nii.gz`. Odd-numbered
patients are learned from, but STS_003; even-numbered ones are never opened. VOIS holds nodules of
LIDC-IDRI (CC BY 3.0) as `image/` and `nodule_mask/LIDC-IDRI-NNNN_R_N.nii.gz`: crops about what most
readers outlined, `data/VOIs` of github.com/PabloLION/ct-slicing (commit 07d32abf). `quality.json`
learns from masks by networks that did not see their patient (FOLDS parts), and from made-up
lesions. An interrupted run continues after the last fit. Draws depend only on the identity of
what they are for, and sums are those of one kind of processor (`SUMS`), so the same command writes
the same bytes on any x86 processor with AVX2, for any number of workers, with the numpy of
constraints.txt. So the files in the package were made.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tools.fit import fit, nodes_of
from tools.phantom import phantom
from uls_data.engine import Pool, run_tasks
from uls_data.ids import draw
from uls_data.io import atomic_write, write_bytes
from uls_data.measure.lines import Lines, jittered
from uls_data.measure.overlap import dice
from uls_data.pseudomask.bone import surroundings
from uls_data.pseudomask.jury import judge
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.network import Network
from uls_data.pseudomask.quality import Quality, calibrate
from uls_data.scoring.trials import SMALLEST_PIXELS, largest_component
from uls_data.voi import hounsfield
from uls_data.volumes import read_volume

# Wider registers, other kernels and more threads add in another order, which 900 steps amplify.
SUMS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
HELD_OUT = "STS_003"  # one of the four cases that are scored on
# Noise on the end points, as shares of the axis, and slices of a patient: what the network sees,
# and what the calibration is for.
FIT = ((0.0, 0.01, 0.03, 0.05, 0.05), 24)
# Slices of a nodule, what all nodules together count for beside the sarcomas, and the margin about
# a nodule that a crop must leave, as a share of its width: the network looks beyond the lines.
NODULE_SLICES, NODULES_SHARE, MARGIN = 4, 0.5, 0.25
QUALITY = ((0.0, 0.05, 0.05), 8)
STEPS = 900
PHANTOMS = 160
FOLDS = 2
ABOUT = {
    "source": "Fitted by tools.fit_jury on human CT masks of soft-tissue sarcomas, STS_001 to "
    "STS_051, odd numbers but STS_003, of theibsi/data_sets ibsi_validation, derived from TCIA "
    "Soft-tissue-Sarcoma, and of lung nodules of TCIA LIDC-IDRI. Lines drawn from the masks.",
    "licence": "CC BY 3.0",
}


@dataclass(frozen=True)
class Lesion:
    """One slice with lines: what the jury sees of it, the human mask there, and whose it is."""

    crop: KeySlice
    mask: NDArray[np.bool_]
    case: str


def cases_of(data: Path) -> list[str]:
    """Odd-numbered patients but the one that is scored on.

    Raises
    ------
    SystemExit
        There is none.
    """
    names = sorted(path.parent.name for path in data.glob("STS_*/CT_mask.nii.gz"))
    odd = [name for name in names if int(name.split("_")[-1]) % 2 and name != HELD_OUT]
    if len(odd) < FOLDS:
        raise SystemExit(f"{data}: expected STS_0NN/CT_mask.nii.gz of {FOLDS} odd patients or more")
    return odd


def lesions_of(case: str, data: Path, noise: tuple[float, ...], slices: int) -> list[Lesion]:
    """Slices of a patient, evenly chosen, each with lines as they are and with noise."""
    pair = [data / case / f"CT_{name}.nii.gz" for name in ("image", "mask")]
    return _lesions(case, case, pair, data, noise, slices)


def nodules_of(vois: Path) -> Iterator[Lesion]:
    """Nodules of LIDC-IDRI, likewise; those that a crop cuts, or nearly, are left out."""
    for path in sorted((vois / "image").glob("LIDC-IDRI-*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        pair = [path, vois / "nodule_mask" / path.name]
        for lesion in _lesions(name, name[:14], pair, vois, FIT[0], NODULE_SLICES):
            if _has_margin(lesion.mask):
                yield lesion


def _has_margin(mask: NDArray[np.bool_]) -> bool:
    for axis in (0, 1):
        there = np.flatnonzero(mask.any(axis=1 - axis))
        first, last = int(there[0]), int(there[-1])
        if min(first, mask.shape[axis] - 1 - last) < MARGIN * (last - first + 1):
            return False
    return True


def _lesions(
    name: str, case: str, pair: list[Path], root: Path, noise: tuple[float, ...], slices: int
) -> list[Lesion]:
    scan, marked = (read_volume(path, root) for path in pair)
    counts = (marked.ras != 0).sum(axis=(0, 1))
    there = np.flatnonzero(counts >= SMALLEST_PIXELS)
    if not there.size:
        return []
    chosen = np.unique(np.linspace(0, len(there) - 1, slices).round().astype(int))
    found = []
    for z in there[chosen].tolist():
        mask = largest_component(marked.ras[:, :, z] != 0)
        clean = Lines.from_mask(mask)
        if clean is None or mask.sum() < SMALLEST_PIXELS:
            continue
        hu, _ = hounsfield(scan.ras[:, :, z], scan.slope, scan.intercept)
        for number, share in enumerate(noise):
            random = np.random.default_rng(draw(1 << 62, "fit", name, z, number))
            lines = jittered(clean, random, share)
            if lines.problem((mask.shape[0], mask.shape[1])) is None:
                found.append(_lesion(KeySlice(hu, lines, (1.0, 1.0)), mask, case))
    return found


def phantoms() -> Iterator[Lesion]:
    """Made-up lesions, each with lines as they are and with 5 % noise."""
    for number in range(PHANTOMS):
        made = phantom(("quality", number), (1.0, 4.0))
        for share in QUALITY[0][:2]:
            random = np.random.default_rng(draw(1 << 62, "quality", number))
            lines = jittered(made.key_slice.lines, random, share)
            if lines.problem() is None:
                key_slice = KeySlice(made.key_slice.hu, lines, made.key_slice.spacing_mm)
                yield _lesion(key_slice, made.mask, f"phantom-{number}")


def _lesion(key_slice: KeySlice, mask: NDArray[np.bool_], case: str) -> Lesion:
    crop, (x, y) = surroundings(key_slice)
    columns, rows = crop.hu.shape
    return Lesion(crop, mask[x : x + columns, y : y + rows], case)


@dataclass(frozen=True)
class Fitting:
    """One fit: the part of the patients that it leaves out, or none, and where its weights go."""

    fold: int | None
    folder: Path
    kind: str = ""

    @property
    def path(self) -> Path:
        name = f"network{self.kind}" if self.fold is None else f"fold{self.kind}-{self.fold}"
        return self.folder / f"{name}.json"


def fold_of(case: str, cases: list[str]) -> int:
    """Part that a patient belongs to."""
    return cases.index(case) % FOLDS


def write_nodes(data: Path, vois: Path, folder: Path) -> None:
    """Write features and targets of all slices of all patients, and whose they are."""
    lesions = [lesion for case in cases_of(data) for lesion in lesions_of(case, data, *FIT)]
    lesions += nodules_of(vois)
    x, y = nodes_of((lesion.crop, lesion.mask) for lesion in lesions)
    who = np.array([lesion.case for lesion in lesions])
    with atomic_write(folder / "nodes.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, x=x, y=y, who=who)


def fitted(fitting: Fitting) -> str:
    """Fit one network on the nodes in its folder, every patient counting alike, and write it."""
    with np.load(fitting.folder / "nodes.npz") as nodes:
        x, y, who = (nodes[name] for name in ("x", "y", "who"))
    sarcomas = sorted(case for case in set(who.tolist()) if _is_sarcoma(case))
    left_out = {c for c in sarcomas if fold_of(c, sarcomas) == fitting.fold}
    used = np.array([case not in left_out for case in who])
    share = _shares(who[used].tolist())
    network = fit(x[used], y[used], share, STEPS)
    noise, slices = FIT
    about = {"steps": STEPS, "seed": 0, "noise": noise, "slices": slices, "share": "by case"}
    about |= {"nodule_slices": NODULE_SLICES, "nodules_share": NODULES_SHARE}
    write_bytes(fitting.path, network.to_json(**ABOUT, fit=about).encode())
    return ""


def _is_sarcoma(case: str) -> bool:
    return case.startswith("STS_")


def _shares(who: list[str]) -> NDArray[np.float64]:
    """How often each lesion is drawn: all patients alike, nodules in all `NODULES_SHARE`."""
    count = Counter(who)
    nodules = np.array([not _is_sarcoma(case) for case in who])
    share = np.array([1 / count[case] for case in who])
    for part, weight in ((nodules, NODULES_SHARE), (~nodules, 1.0)):
        share[part] *= weight / share[part].sum()
    return share


def calibrated(data: Path, folder: Path) -> Quality:
    """Calibrate on masks of patients that their network has not seen, and on made-up lesions."""
    cases = cases_of(data)
    networks = [
        Network.from_json(Fitting(fold, folder).path.read_text(encoding="utf-8"))
        for fold in range(FOLDS)
    ]
    whole = Network.from_json(Fitting(None, folder).path.read_text(encoding="utf-8"))
    judged = [
        (lesion, networks[fold_of(case, cases)])
        for case in cases
        for lesion in lesions_of(case, data, *QUALITY)
    ]
    judged += [(lesion, whole) for lesion in phantoms()]
    measures, truth = [], []
    for lesion, network in judged:
        verdict = judge(lesion.crop, network)
        measures.append(verdict.measures)
        truth.append(dice(verdict.masks["fused"], lesion.mask))
    count = Counter(lesion.case for lesion, _ in judged)
    # All made-up lesions together count as much as all patients.
    made_up = len(cases) / PHANTOMS
    share = [
        (made_up if lesion.case.startswith("phantom") else 1.0) / count[lesion.case]
        for lesion, _ in judged
    ]
    return calibrate(measures, truth, share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of the sarcomas")
    parser.add_argument("--nodules", type=Path, required=True, help="folder of the nodules")
    parser.add_argument("--to", type=Path, required=True, help="folder to write")
    parser.add_argument("--workers", type=int, default=0, help="local processes")
    arguments = parser.parse_args()
    data, folder = arguments.data, arguments.to
    folder.mkdir(parents=True, exist_ok=True)
    cases = cases_of(data)
    if not (folder / "nodes.npz").exists():
        write_nodes(data, arguments.nodules, folder)
    fits = [Fitting(fold, folder) for fold in (None, *range(FOLDS))]
    left = [fitting for fitting in fits if not fitting.path.exists()]
    for done, problem in run_tasks(fitted, left, Pool(arguments.workers), lost=_lost):
        if problem:
            raise SystemExit(f"{done.path.name}: {problem}")
        print(f"{done.path}: fitted", flush=True)
    quality = calibrated(data, folder)
    source = (
        f"Calibrated by tools.fit_jury on {len(cases)} soft-tissue sarcomas of the IBSI validation "
        "set (odd numbers but STS_003, derived from TCIA Soft-tissue-Sarcoma, CC BY 3.0), each "
        f"judged by a network fitted without its case, and {PHANTOMS} made-up lesions; lines drawn "
        "from the masks, as they are and with 5 % noise."
    )
    write_bytes(folder / "quality.json", quality.to_json(source=source).encode())
    print(f"{folder / 'quality.json'}: calibrated")


def _lost(_fitting: Fitting, detail: str) -> str:
    return detail


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in SUMS.items()):
        # numpy reads these when it is loaded, which it is by now.
        command = [sys.executable, "-m", "tools.fit_jury", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | SUMS)
    # Workers find functions by the name of their module, and know no `__main__`.
    from tools.fit_jury import main as started

    started()
