"""`python -m tools.certificates SARCOMAS --measured FOLDER`: does what `certify` promises hold?

The population is finite: the sarcomas of the IBSI validation set (a folder of `STS_*` with
`CT_image.nii.gz` and `CT_mask.nii.gz`) and made-up lesions, several of some patients.
Calibrations are drawn from it by patient, with replacement, so that the true risk of a rule is
known exactly: it is that of the whole population. Masks are made of the image between two shells
of the lines' ellipsoid: wrong often enough to need a rule. With `--model M1 --model M2` networks
that are told the lines make them instead, with `--jury-3d` the jury; give `--even` then, because
these learned from the odd sarcomas.
Measurements are kept in FOLDER, one file per patient: an interrupted run continues from them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tools.certified_lesions import (
    SHIFTED,
    USUAL,
    Followed,
    Look,
    Teacher,
    Tried,
    made_up,
    sarcoma,
)
from tools.told import Told
from uls_data.certificates.judged import Judged
from uls_data.certificates.learning import Learned, Promise, learn
from uls_data.certificates.shift import differences, reference
from uls_data.filtering.rule import MAXIMUM_AXIS_ERROR_VOX
from uls_data.io import write_bytes
from uls_data.network.checkpoint import load_model

PROMISE = Promise(0.1, 0.7, 0.95)
# Numbers of made-up patients that are not in the population.
_FIRST_OTHER = 10_000
Jobs = Mapping[str, Mapping[str, Callable[[], list[Tried]]]]


def resampled(population: Sequence[Tried], size: int, number: int) -> list[Judged]:
    """Calibration of so many patients, drawn with replacement; copies are patients of their own."""
    by_patient: dict[str, list[Judged]] = {}
    for one in population:
        by_patient.setdefault(one.mask.patient, []).append(one.mask)
    names = sorted(by_patient)
    random = np.random.default_rng(number)
    found = []
    for copy, at in enumerate(random.integers(0, len(names), size)):
        for mask in by_patient[names[at]]:
            identity = (*mask.identity[:1], f"{mask.identity[1]}-{copy}", *mask.identity[2:])
            found.append(replace(mask, patient=f"{mask.patient}-{copy}", identity=identity))
    return found


def risk_of(masks: Sequence[Judged], kept: NDArray[np.bool_], dice: float) -> tuple[float, float]:
    """Risk of a kept mask drawn from a random patient who has one, and that of a random one."""
    fails: dict[str, list[bool]] = {}
    for mask, stays in zip(masks, kept, strict=True):
        if stays:
            fails.setdefault(mask.patient, []).append((mask.dice or 0.0) < dice)
    if not fails:
        return 0.0, 0.0
    by_patient = float(np.mean([np.mean(each) for each in fails.values()]))
    return by_patient, float(np.mean([one for each in fails.values() for one in each]))


def experiment(
    population: Sequence[Tried], resamplings: int, patients: int, promise: Promise = PROMISE
) -> dict[str, Any]:
    """Certify again and again, and count how often the true risk is above what was promised."""
    masks = [one.mask for one in population]
    errors = np.array([one.axis_error_vox for one in population])
    broken = none = 0
    coverages, risks, by_lesion = [], [], []
    for number in range(resamplings):
        learned = learn(resampled(population, patients, number), promise, seed=number)
        if not isinstance(learned, Learned):
            none += 1
            continue
        kept = learned.keeps(masks)
        risk, risk_of_lesions = risk_of(masks, kept, promise.dice)
        broken += risk > promise.risk
        coverages.append(float(kept.mean()))
        risks.append(risk)
        by_lesion.append(risk_of_lesions)
    interval = stats.binomtest(broken, resamplings).proportion_ci(method="exact")
    everything = np.ones(len(masks), bool)
    return {
        "patients": len({mask.patient for mask in masks}),
        "lesions": len(masks),
        "calibration_patients": patients,
        "resamplings": resamplings,
        "broken": broken,
        "broken_interval": [float(interval.low), float(interval.high)],
        "no_certificate": none,
        "coverage": _spread(coverages),
        "risk": _spread(risks),
        "risk_of_lesions": _spread(by_lesion),
        "all": _summary(masks, everything, promise),
        "paper": _summary(masks, errors <= MAXIMUM_AXIS_ERROR_VOX, promise),
        "paper_keeping_as_many": _summary(
            masks, errors <= np.quantile(errors, np.median(coverages or [0])), promise
        ),
    }


def _summary(
    masks: Sequence[Judged], kept: NDArray[np.bool_], promise: Promise
) -> dict[str, float]:
    risk, of_lesions = risk_of(masks, kept, promise.dice)
    return {"coverage": float(kept.mean()), "risk": risk, "risk_of_lesions": of_lesions}


def _spread(values: Sequence[float]) -> list[float] | None:
    """Lowest, 10 %, median, 90 %, highest."""
    return [float(v) for v in np.quantile(values, (0, 0.1, 0.5, 0.9, 1))] if values else None


def warned_of(population: Sequence[Tried], others: dict[str, list[Tried]]) -> dict[str, list[str]]:
    """Differences that a user is warned of, of sets of other lesions."""
    values, types = reference([one.mask for one in population], 0)
    return {
        name: [
            str(found)
            for found in differences(values, types, [one.mask for one in those], 0)
            if found.matters
        ]
        for name, those in others.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("sarcomas", type=Path)
    parser.add_argument("--measured", type=Path, required=True, help="folder of what is measured")
    parser.add_argument("--model", type=Path, action="append", default=[], help="that makes masks")
    parser.add_argument("--jury-3d", action="store_true", help="the jury in 3D makes masks")
    parser.add_argument("--others", type=int, default=2, help="other lines that models try")
    parser.add_argument("--even", action="store_true", help="only the even-numbered sarcomas")
    parser.add_argument("--made-up", type=int, default=250, help="made-up patients")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them")
    parser.add_argument("--shifted", type=int, default=25, help="patients of each shifted set")
    parser.add_argument("--patients", type=int, default=200, help="of each calibration")
    parser.add_argument("--dice", type=float, default=PROMISE.dice, help="that is promised")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--resamplings", type=int, default=100)
    options = parser.parse_args()
    told: Teacher | None = None
    teacher = "shells"
    if options.jury_3d:
        told, teacher = Followed(), "jury_3d"
    elif options.model:
        models = tuple(options.model)
        told = Told(models, options.others)
        teacher = f"{load_model(models).sha256[:12]}-{options.others}"
    cases = sorted(options.sarcomas.glob("STS_*"))
    cases = [case for case in cases if not options.even or int(case.name[-3:]) % 2 == 0]
    jobs = _jobs(
        cases, range(options.first, options.first + options.made_up), options.shifted, told
    )
    sets = measured(jobs, options.measured / teacher, options.workers)
    population = sets.pop("sarcomas") + sets.pop("made up")
    promise = replace(PROMISE, dice=options.dice)
    found = experiment(population, options.resamplings, options.patients, promise)
    found["warned"] = warned_of(population, sets)
    print(json.dumps(found, indent=1))


def _jobs(cases: Sequence[Path], made: range, shifted: int, told: Teacher | None) -> Jobs:
    """What measures each patient, by set; those beside the population belong to other patients."""
    jobs = {
        "sarcomas": {case.name: partial(sarcoma, case, 0, told) for case in cases},
        "made up": {f"{n:05d}": partial(_patient, n, USUAL, told) for n in made},
    }
    for name, look in {"like the calibration": USUAL, **SHIFTED}.items():
        numbers = range(_FIRST_OTHER, _FIRST_OTHER + shifted)
        jobs[name] = {f"{n:05d}": partial(_patient, n, look, told) for n in numbers}
    return jobs


def measured(jobs: Jobs, folder: Path, workers: int) -> dict[str, list[Tried]]:
    """Measure every patient of every set once: what is in the folder is not measured again."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        running = {
            name: [pool.submit(_kept, folder / f"{name}-{who}.json", job) for who, job in its]
            for name, its in ((name, its.items()) for name, its in jobs.items())
        }
        return {name: [one for job in its for one in job.result()] for name, its in running.items()}


def _kept(path: Path, job: Callable[[], list[Tried]]) -> list[Tried]:
    """Return what a file holds; where there is none, measure and write it."""
    if path.exists():
        return [_loaded(one) for one in json.loads(path.read_bytes())]
    found = job()
    write_bytes(path, json.dumps([asdict(one) for one in found]).encode())
    return found


def _loaded(one: dict[str, Any]) -> Tried:
    mask = one["mask"] | {"identity": tuple(one["mask"]["identity"])}
    return Tried(Judged(**mask), one["axis_error_vox"])


def _patient(number: int, look: Look, told: Teacher | None) -> list[Tried]:
    return list(made_up(number, 0, look, told))


if __name__ == "__main__":
    main()
