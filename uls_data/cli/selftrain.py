"""`uls-data selftrain`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uls_data.cli.model_options import (
    batch_size_option,
    certificate_option,
    device_option,
    image_vote_option,
    jitter_option,
    key_slice_option,
    precision_option,
    threads_option,
    tta_option,
)
from uls_data.cli.output import failures, json_line, json_option, next_step, quoted, table
from uls_data.cli.progress_bar import Progress
from uls_data.errors import UlsDataError

if TYPE_CHECKING:
    from uls_data.loop import LoopReport, Round


@click.command(
    "selftrain",
    epilog="""\b
Examples:
  uls-data selftrain --weak weak --full vois --out loop --rounds 2
  uls-data selftrain --weak weak --full vois --out loop --plan small --cross-fit 5
  uls-data selftrain --weak weak --full vois --out loop --rule paper --tta
  uls-data selftrain --weak weak --full vois --out loop --teacher prompted --rounds 1
""",
)
@click.option(
    "--weak",
    required=True,
    type=click.Path(path_type=Path),
    help="Manifest or OUT folder of measured lesions with 2D masks.",
)
@click.option(
    "--full",
    required=True,
    type=click.Path(path_type=Path),
    help="Manifest or OUT folder of lesions with full masks.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the loop.")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Number of rounds; the paper has two.",
)
@click.option(
    "--cross-fit",
    type=click.IntRange(min=0),
    default=0,
    metavar="K",
    help="Split patients into K folds; no teacher predicts a lesion of a patient it trained on.",
)
@click.option("--plan", help="baseline, small, prompted or a file.  [default: baseline]")
@click.option(
    "--teacher",
    metavar="PLAN",
    help="Plan of the networks that make masks, such as prompted; a student by --plan learns from "
    "them.",
)
@click.option(
    "--parent",
    "parents",
    multiple=True,
    help="2D masks to pre-train on; may be repeated. Default: jury, or the only ones.",
)
@click.option("--layer", "layers", multiple=True, hidden=True, help="Old name of --parent.")
@click.option(
    "--slices",
    "weak_slices",
    type=click.Choice(["ignore", "background"]),
    default="ignore",
    show_default=True,
    help="How slices without annotation count for 2D masks: unknown, or background (as published).",
)
@click.option(
    "--rule",
    metavar="paper|combined|EXPRESSION",
    help="Which masks are kept, as for `filter`.  [default: combined]",
)
@click.option(
    "--max-axis-error-vox", type=float, help="Bound of the paper's rule in pixels, as for `filter`."
)
@certificate_option
@tta_option
@jitter_option
@key_slice_option
@image_vote_option
@click.option(
    "--include-heldout",
    is_flag=True,
    help="Train on held-out patients too (the paper's final training); nothing is scored then.",
)
@device_option
@precision_option
@batch_size_option
@click.option(
    "--seed", default=0, show_default=True, help="Random seed for weights, order, folds and clicks."
)
@threads_option
@json_option
def command(
    weak: Path,
    full: Path,
    out: Path,
    parents: tuple[str, ...],
    layers: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """Train, predict, filter, and train again: the paper's Figure 3, with any number of rounds.

    Round 1 pre-trains a network on the 2D masks of the weak lesions and fine-tunes it on the
    full masks; it predicts the weak lesions in 3D, and the filter keeps those that agree with
    their measurement. Every later round pre-trains a new network on the masks that were kept.
    Each round is a layer, `pseudo3d-rN`. Run the same command again to continue.
    """
    try:
        from uls_data.loop import selftrain
    except ModuleNotFoundError as error:
        raise UlsDataError(
            f"the loop needs {error.name}: pip install 'uls-data[network]'"
        ) from error
    began = time.monotonic()

    def stage(name: str) -> Progress:
        minutes = (time.monotonic() - began) / 60
        click.echo(f"[{minutes:6.1f} min] {name}", err=True)
        steps = "steps" if "train" in name or "tune" in name else "VOIs"
        return Progress(steps, steps)

    options["jitter"] = options["jitter"] or 0
    options["key_slice"] = options["key_slice"] or "auto"
    report = selftrain(weak, full, out, parents=parents + layers, stage=stage, **options)
    if as_json:
        for made in report.rounds:
            json_line(_plain(made))
    else:
        _print(report, out)
    for made in report.rounds:
        for text in made.filtered.warnings:
            click.echo(f"{made.layer}: {text}", err=True)
        if not made.predicted["ok"]:
            click.echo(
                f"{made.layer}: its network finds no lesion at all. Look at curves.csv beside "
                f"{made.models[0]}; train longer, or with another --seed.",
                err=True,
            )
    failures(report.failed)
    return 1 if report.failed else 0


def _plain(made: Round) -> dict[str, Any]:
    judged = made.filtered
    return {
        "round": made.number,
        "layer": made.layer,
        "teacher_prompt": made.teacher_prompt,
        "models": [str(model) for model in made.models],
        **made.predicted,
        "kept": judged.kept,
        "removed": judged.removed,
        "teacher_saw": made.teacher_saw,
        "heldout": made.heldout,
        "gain": made.gain,
        "beside_ellipsoid": made.beside_ellipsoid,
    }


def _print(report: LoopReport, out: Path) -> None:
    print_rounds(report.rounds)
    for row in report.student:
        if row["group"] == "all":
            click.echo(f"\nStudent: Dice {row['dice']:.3f} on {row['lesions']} held-out lesions")
    click.echo(f"\nModel: {report.model}")
    click.echo(f"Masks: {out / 'manifest'} (layers {', '.join(r.layer for r in report.rounds)})")
    next_step(f"uls-data evaluate, or uls-data query {quoted(out)} 'reason == \"filtered\"'")


def print_rounds(rounds: list[Round]) -> None:
    """Print a table of rounds: what was kept, what a teacher had seen, held-out Dice, gain."""
    lines = []
    for made in rounds:
        judged = made.filtered.kept + made.filtered.removed
        everything = next((row for row in made.heldout if row["group"] == "all"), None)
        lines.append(
            [
                str(made.number),
                str(made.predicted["ok"]),
                f"{made.filtered.kept} ({made.filtered.kept / judged:.0%})" if judged else "0",
                str(made.teacher_saw),
                "-" if everything is None else f"{everything['dice']:.3f}",
                "-" if everything is None else str(everything["lesions"]),
                _gain(made.gain),
                _gain(made.beside_ellipsoid),
            ]
        )
    table(
        lines,
        [
            *("round", "masks", "kept", "teacher saw", "held-out dice", "lesions", "gain [95 %]"),
            "beside the lines' ellipsoid",
        ],
    )


def _gain(found: dict[str, Any] | None) -> str:
    if found is None or found["dice"] is None:
        return "-"
    low, high = found["dice_low"], found["dice_high"]
    return f"{found['dice']:+.3f}" + ("" if low is None else f" [{low:+.3f}, {high:+.3f}]")
