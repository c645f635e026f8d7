"""`python -m demo.students FOLDER`: what masks of measured lesions teach.

Students differ in nothing but the masks of the measured lesions that they are pre-trained on: 2D
masks, ellipsoids of the lines, masks of a teacher that sees a click, and of one that is told the
lines. All are fine-tuned on the same full masks, for as many steps, from the same seeds, and see
a click alone. They are scored on held-out lesions that no training saw, with the mean of several
trainings for each lesion. The same command continues where an earlier one ended.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

from demo.loop import TRAIN_PATIENTS
from demo.tables import side_by_side
from demo.trial import Trial, demo_plan, prompted
from uls_data.network.plan import Plan
from uls_data.tables import Record

FLAT, ELLIPSOID = "2D masks", "ellipsoids of the lines"
CLICK, LINES = "masks by a click", "masks by the lines"
_MEASURES = [f"{name}{form}" for name in ("dice", "long_sape", "short_sape")
             for form in ("", "_corrected")]  # fmt: skip


def run(
    folder: Path,
    weak: int,
    heldout: int,
    seeds: int,
    length: float,
    workers: int,
    say: Callable[[str], None],
) -> list[str]:
    """Make the archives, train teachers and students, and return two tables as lines.

    Parameters
    ----------
    weak, heldout : int
        Patients with measured lesions, and held-out patients with full masks.
    seeds : int
        Trainings of each network.
    length : float
        How many times as long as the demo's they are.
    """
    trial = Trial(folder, 0, workers, say)
    trial.make(TRAIN_PATIENTS, heldout, weak, ["jury", "ellipsoid"])
    plan = longer(demo_plan(), length)
    masks: dict[str, list[list[Record]]] = {}
    students: dict[str, list[list[Record]]] = {}
    for seed in range(seeds):
        # The teacher that sees a click is the student of the 2D masks.
        click = trial.network(f"flat-{seed}", plan, "jury", seed=seed)
        lines = trial.told(f"told-{seed}", prompted(plan), seed)
        solid = trial.network(f"ellipsoid-{seed}", plan, "ellipsoid", seed=seed)
        trained = {FLAT: click, ELLIPSOID: solid}
        for name, teacher in ((CLICK, click), (LINES, lines)):
            layer = f"{name.split()[-1]}-{seed}"
            kept, judged = trial.teach(teacher, layer)
            masks.setdefault(name, []).append(judged.rows)
            if judged.ellipsoid is not None:
                masks[ELLIPSOID] = [judged.ellipsoid.rows]
            trained[name] = trial.network(f"of-{layer}", plan, layer, [kept], seed)
        for name, student in trained.items():
            scores = trial.examine(student, f"{name} {seed}".replace(" ", "-"))
            students.setdefault(name, []).append(scores)
    made = {name: averaged(masks[name]) for name in (ELLIPSOID, CLICK, LINES)}
    learned = {name: averaged(runs) for name, runs in students.items()}
    return [
        "Masks of the measured lesions, rejected ones too, against the truth:",
        *side_by_side(made, (ELLIPSOID, CLICK), "masks"),
        "Students on the held-out lesions:",
        *side_by_side(learned, (FLAT, ELLIPSOID, CLICK), "pre-trained on"),
    ]


def averaged(runs: Sequence[Sequence[Record]]) -> list[Record]:
    """Rows of several runs on the same lesions, with the means of Dice and of the axes' errors."""
    found = []
    for rows in zip(*runs, strict=True):
        assert len({row["voi_id"] for row in rows}) == 1
        means = {name: fmean(row[name] for row in rows) for name in _MEASURES}
        found.append({**rows[0], **means})
    return found


def longer(plan: Plan, times: float) -> Plan:
    """Return a plan whose trainings are so many times as long."""
    training = plan.training
    names = ("epochs", "fine_tune_epochs")
    epochs = {name: max(1, round(getattr(training, name) * times)) for name in names}
    return plan.model_copy(update={"training": training.model_copy(update=epochs)})


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m demo.students", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weak", type=int, default=30, help="patients with measured lesions")
    parser.add_argument("--heldout", type=int, default=24, help="held-out patients")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each network")
    parser.add_argument("--length", type=float, default=2, help="times as long as the demo's")
    parser.add_argument("--workers", type=int, default=1)
    given = vars(parser.parse_args())
    for line in run(**given, say=lambda text: print(text, flush=True)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
