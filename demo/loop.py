"""`python -m demo.loop FOLDER`: the model in the loop on hard made-up lesions.

The part of `python -m demo` that trains networks, by itself: what are the masks worth that they
make, and what the networks that learn from those?
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from demo.tables import side_by_side
from demo.trial import Trial, demo_plan, prompted
from uls_data import evaluate, load_manifest, selftrain
from uls_data.cli.selftrain import print_rounds
from uls_data.tables import Record

TRAIN_PATIENTS, HELDOUT_PATIENTS, WEAK_PATIENTS = 14, 16, 20
ROUNDS = 2
ELLIPSOID, LINES = "the ellipsoid of the lines", "a teacher told the lines"
JURY = "the jury in 3D, which needs no training"


def run_loop(folder: Path, workers: int, seed: int, say: Callable[[str], None]) -> list[str]:
    """Make two archives, build them, run the paper's Figure 3 on them, and score it.

    Beside the loop, whose teachers see a click, a teacher is trained that is told the lines (as
    long, on the full masks alone), and a student that sees a click on its masks. The jury's masks
    in 3D need no training.

    Parameters
    ----------
    folder : Path
        `raw`, `weak`, `full`, `truth`, `loop`, `networks` and `masks` are written there.

    Returns
    -------
    list of str
        Two tables: of all masks of the measured lesions, against the truth that no stage has
        seen; and of networks on the held-out lesions, by the masks that they were pre-trained on.
    """
    say("Hard lesions: oblique, lobed, partly destroyed, faint, touching similar tissue")
    trial = Trial(folder, seed, workers, say)
    trial.make(TRAIN_PATIENTS, HELDOUT_PATIENTS, WEAK_PATIENTS)
    report = selftrain(
        trial.weak,
        trial.full,
        folder / "loop",
        rounds=ROUNDS,
        plan=demo_plan(),
        device="cpu",
        seed=seed,
        workers=workers,
        stage=lambda name: say(f"  {name}"),
    )
    print_rounds(report.rounds)
    masks: dict[str, list[Record]] = {ELLIPSOID: []}
    kept: list[str] = []
    students: dict[str, list[Record]] = {}
    before = "2D masks"
    for made in report.rounds:
        if not made.predicted["ok"]:
            say(f"  {made.layer}: its network finds no lesion at all")
            break
        name = f"the loop, round {made.number}"
        manifest = folder / "loop" / "manifest" / f"{made.layer}.parquet"
        judged = trial.judge(manifest)
        masks[name] = judged.rows
        kept.append(_kept(name, manifest, judged.rows))
        examined = folder / "loop" / f"round-{made.number}" / "heldout"
        names = {str(row["voi_id"]) for row in trial.heldout()}
        students[before] = evaluate(examined, trial.full, vois=names).rows
        before = f"masks of {name}"
    masks[JURY] = trial.followed("jury_3d").rows
    teacher = trial.told("teacher told the lines", prompted(demo_plan()), seed)
    manifest, judged = trial.teach(teacher, "pseudo3d-r1")
    masks[LINES] = judged.rows
    kept.append(_kept(LINES, manifest, judged.rows))
    assert judged.ellipsoid is not None  # every row of the archive has lines
    masks[ELLIPSOID] = judged.ellipsoid.rows
    student = trial.network("student", demo_plan(), "pseudo3d-r1", [manifest], seed=seed)
    students[f"masks of {LINES}"] = trial.examine(student, "student")
    references = [name for name in (ELLIPSOID, "the loop, round 1") if name in masks]
    return [
        f"Masks of {2 * WEAK_PATIENTS} measured lesions, rejected ones too, against the truth:",
        *side_by_side(masks, references, "masks by"),
        *kept,
        f"Networks that see a click, on {2 * HELDOUT_PATIENTS} held-out lesions:",
        *side_by_side(students, list(students)[:1], "pre-trained on"),
    ]


def _kept(name: str, manifest: Path, scores: list[Record]) -> str:
    """Say what the filter kept of the masks of a manifest, and how good that is."""
    dice = {row["voi_id"]: row["dice"] for row in scores}
    table = load_manifest(manifest, ["voi_id", "status"])
    both = [
        [dice[row.voi_id] for row in table.itertuples() if (row.status == "ok") == keep]
        for keep in (True, False)
    ]
    good, bad = (f"{len(part)} ({fmean(part):.3f})" if part else "0" for part in both)
    return f"  {name}: the filter keeps {good}, rejects {bad}"


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m demo.loop", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = vars(parser.parse_args())
    for line in run_loop(**given, say=lambda text: print(text, flush=True)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
