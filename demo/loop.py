"""The model in the loop on hard made-up lesions, and what each round of it was worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from demo.hard import make_hard, make_hard_weak, write_truth
from uls_data import build, evaluate, filter, load_manifest, selftrain
from uls_data.cli.selftrain import print_rounds
from uls_data.network.plan import Plan, load_plan
from uls_data.scoring.comparison import compare

TRAIN_PATIENTS, HELDOUT_PATIENTS, WEAK_PATIENTS = 14, 16, 20
ROUNDS = 2


def demo_plan() -> Plan:
    """Return `small` for lesions of at most 3 cm, and for some thirty seconds."""
    plan = load_plan("small")
    training = plan.training.model_copy(
        update={
            "epochs": 7,
            "fine_tune_epochs": 5,
            "steps_per_epoch": 20,
            "learning_rate": 0.02,
            "fine_tune_factor": 0.5,
            "validate_every": 100,
        }
    )
    return plan.model_copy(update={"name": "demo", "crop": (16, 48, 48), "training": training})


def run_loop(
    folder: Path, workers: int, seed: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Make two archives, build them, run the paper's Figure 3 on them, and score it.

    Parameters
    ----------
    folder : Path
        `raw`, `weak`, `full`, `truth` and `loop` are written there.

    Returns
    -------
    list of dict
        For each round: `layer`; `masks`, `kept`, `rejected`: numbers; `dice_kept`,
        `dice_rejected`, `dice`: against the truth that no stage has seen; `gain`, `gain_low`,
        `gain_high`: Dice over the round before, paired, with its 95 % interval by patient.
    """
    say("Hard lesions: lobulated, contrast 1 to 2 times the noise, against like tissue, touched")
    make_hard(folder / "raw" / "hard", seed, TRAIN_PATIENTS, HELDOUT_PATIENTS)
    make_hard_weak(folder / "raw" / "weak", seed, WEAK_PATIENTS)
    recipe = folder / "raw" / "hard" / "hard.yaml"
    build(str(recipe), folder / "raw" / "hard", folder / "full", workers=workers)
    build("deeplesion", folder / "raw" / "weak", folder / "weak", workers=workers)
    write_truth(
        folder / "weak" / "manifest" / "deeplesion.parquet", folder / "truth", seed, WEAK_PATIENTS
    )
    report = selftrain(
        folder / "weak",
        folder / "full",
        folder / "loop",
        rounds=ROUNDS,
        plan=demo_plan(),
        device="cpu",
        seed=seed,
        workers=workers,
        stage=lambda name: say(f"  {name}"),
    )
    print_rounds(report.rounds)
    rows = []
    before = None
    for made in report.rounds:
        manifest = folder / "loop" / "manifest" / f"{made.layer}.parquet"
        if not made.predicted["ok"]:
            say(f"  {made.layer}: its network finds no lesion at all")
            break
        # Rejected masks are scored, too: that is what the filter is worth.
        unfiltered = folder / "loop" / f"{made.layer}-unfiltered.parquet"
        filter(manifest, unfiltered, rule="mask_voxels > 0")
        scores = evaluate(unfiltered, folder / "truth").rows
        dice = {row["voi_id"]: row["dice"] for row in scores}
        table = load_manifest(manifest, ["voi_id", "status"])
        kept = [dice[row.voi_id] for row in table.itertuples() if row.status == "ok"]
        rejected = [dice[row.voi_id] for row in table.itertuples() if row.status != "ok"]
        row: dict[str, Any] = {
            "layer": made.layer,
            "masks": len(dice),
            "kept": len(kept),
            "rejected": len(rejected),
            "dice_kept": fmean(kept) if kept else None,
            "dice_rejected": fmean(rejected) if rejected else None,
            "dice": fmean(dice.values()),
            "gain": None,
        }
        if before is not None:
            (gain,) = compare(scores, before)
            row |= {
                "gain": gain["dice"],
                "gain_low": gain["dice_low"],
                "gain_high": gain["dice_high"],
            }
        before = scores
        rows.append(row)
    return rows


def described(rows: list[dict[str, Any]]) -> list[str]:
    """Lines that say what `run_loop` found."""
    lines = ["Against the truth of the measured lesions, which no stage has seen:"]
    for row in rows:
        numbers = [row[name] for name in ("dice_kept", "dice_rejected")]
        kept, rejected = ("-" if value is None else f"{value:.3f}" for value in numbers)
        lines.append(
            f"  {row['layer']}: Dice {row['dice']:.3f}; kept {row['kept']} of {row['masks']} "
            f"({kept}), rejected {row['rejected']} ({rejected})"
        )
        if row["gain"] is not None:
            lines.append(
                f"    beside the round before: {row['gain']:+.3f} "
                f"[{row['gain_low']:+.3f}, {row['gain_high']:+.3f}] (95 %, by patient)"
            )
    return lines
