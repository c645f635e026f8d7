"""`uls-data evaluate-2d`."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

import click

from uls_data.cli.output import failures, json_line, json_option, next_step, quoted, table
from uls_data.cli.progress_bar import Progress
from uls_data.cli.trial import trial_options
from uls_data.outcome import Reason, Status

_SHOWN = 5
_COLUMNS = ("lines", "method", "patients", "slices", "dice", "95 %", "worst", "NSD 1 mm")


@click.command(
    "evaluate-2d",
    epilog="""\b
Examples:
  uls-data evaluate-2d vois --method jury
  uls-data evaluate-2d vois/manifest/kits21.parquet --slices all --by size --to scores
  uls-data evaluate-2d vois --raw kits21=/data/kits21
  uls-data evaluate-2d vois/manifest/lidc_idri.parquet --readers
""",
)
@click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="M..."
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="2D method to score; may be repeated. Default: jury and quarter_ellipses. The ellipse, "
    "the quadrilateral and grabcut are always scored too.",
)
@click.option(
    "--jitter",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=(0.05, 0.15),
    show_default=True,
    help="Noise on the end points, as a fraction of the axis length; may be repeated.",
)
@click.option(
    "--readers",
    is_flag=True,
    help="Instead of noise: lines across each reader's mask (layers reader-1, ...), scored on that "
    "reader's mask (own) and on the others' (other).",
)
@trial_options
@click.option(
    "--by",
    type=click.Choice(["all", "size", "lesion_type", "case", "cut"]),
    multiple=True,
    help="Groups to print; may be repeated. Default: all.",
)
@click.option("--to", type=click.Path(path_type=Path), help="Folder for scores (CSV) and a plot.")
@json_option
def command(
    manifests: tuple[Path, ...],
    methods: tuple[str, ...],
    by: tuple[str, ...],
    to: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Score 2D pseudo-masks on lesions with full masks.

    RECIST lines are derived from each human mask, as they are and with noise on
    their end points; every method then sees only the image and the lines. Means are over patients;
    intervals are 95 % of a bootstrap by patient. A lesion that its VOI cuts is scored cut, unless
    --raw gives its scan.
    """
    from uls_data.io import writing_to
    from uls_data.scoring import evaluate_2d

    with Progress("scores", "lesions") as bar:
        evaluation = evaluate_2d(
            list(manifests),
            methods or ("jury", "quarter_ellipses"),
            started=bar.begin,
            progress=lambda rows: bar.step(1, rows),
            **options,
        )
    if to is not None:
        with writing_to(to):
            evaluation.write(to)
    # A reader who marks nothing where another does is not wrong, nor is a lesion of one pixel.
    failed = [row for row in evaluation.failed if Reason(row["reason"]).status == Status.FAILED]
    code = 1 if failed or not evaluation.scores else 0
    if as_json:
        for row in evaluation.scores:
            json_line(row)
        return code
    if evaluation.scores:
        for name in by or ("all",):
            _print_groups(evaluation, name)
        _print_gains(evaluation)
        _print_prediction(evaluation)
    else:
        click.echo("No lesion was scored.")
    _print_left_out(evaluation)
    on_voi = {row["source"] for row in evaluation.scores if row["measured_on"] == "voi"}
    if options["scans"] is not None and on_voi:
        sources = ", ".join(sorted(on_voi))
        click.echo(f"\n--raw holds no scan of some lesions of {sources}: measured on their VOIs.")
    failures(failed, "case_id")
    if to is not None:
        click.echo(f"Scores, tables and plot: {to}")
    if evaluation.predictions:
        next_step(f"uls-data calibrate {quoted(manifests[0])} --out my_quality.json")
    return code


def _print_groups(evaluation: Any, name: str) -> None:
    rows: Sequence[dict[str, Any]] = evaluation.summary(name)
    click.echo(f"\nBy {name}:" if name != "all" else "Over all lesions:")
    table(
        (
            [
                *([row["group"]] if name != "all" else []),
                *(row[key] for key in ("lines", "method", "patients", "slices")),
                f"{row['dice']:.3f}",
                # One patient has no interval.
                "-" if isnan(row["dice_low"]) else f"{row['dice_low']:.3f}-{row['dice_high']:.3f}",
                f"{row['worst_dice']:.3f}",
                f"{row['nsd_1mm']:.3f}",
                f"{row['long_error_vox']:.2f}",
                f"{row['short_error_vox']:.2f}",
            ]
            for row in rows
        ),
        [*([name] if name != "all" else []), *_COLUMNS, "long px", "short px"],
    )


def _print_gains(evaluation: Any) -> None:
    click.echo("\nDice against each of the others, on the same lines:")
    for row in evaluation.gains():
        spread = "" if isnan(row["low"]) else f" ({row['low']:+.3f} to {row['high']:+.3f})"
        click.echo(
            f"  {row['lines']:5}  {row['method']} - {row['baseline']}: {row['gain']:+.3f}{spread}, "
            f"worst patient {row['worst']:+.3f}, better in {row['better']:.0%}"
        )


def _print_prediction(evaluation: Any) -> None:
    if not evaluation.predictions:
        return
    error, _ = evaluation.calibration()
    click.echo(f"\nPredicted Dice: expected calibration error {error:.3f}")
    for row in evaluation.risk_coverage():
        if abs(row["coverage"] - 0.55) < 0.026 or row["coverage"] == 1:
            click.echo(
                f"  best {row['coverage']:.0%}: Dice {row['dice_by_prediction']:.3f} by prediction,"
                f" {row['dice_by_axis_error']:.3f} by axis error in pixels"
            )
    click.echo(
        f"  the 5 px rule keeps {evaluation.five_px['coverage']:.0%}: Dice "
        f"{evaluation.five_px['dice']:.3f}; as many by prediction: "
        f"{evaluation.five_px['dice_by_prediction']:.3f}"
    )


def _print_left_out(evaluation: Any) -> None:
    """Say what lines and truth lack: parts that VOIs cut, images, slices of other readers, size."""
    blind = [m for m in evaluation.trial.methods if m not in evaluation.methods]
    if evaluation.scores and blind:
        click.echo(f"\nNo image: {', '.join(blind)} not scored.")
    small = [row for row in evaluation.failed if row["reason"] == Reason.BELOW_MINIMUM_SIZE]
    if small:
        click.echo("\nToo small to be scored:")
        for row in small[:_SHOWN]:
            click.echo(f"  {row['case_id']}, lesion {row['lesion_index']}: {row['detail']}")
        if len(small) > _SHOWN:
            click.echo(f"  ... and {len(small) - _SHOWN} more (--to writes failed.csv)")
    absent = sum(row["reason"] == Reason.NO_LESION for row in evaluation.failed)
    if absent:
        click.echo(
            f"\n{absent} pairs left out: one reader marks nothing on the slice that the other "
            "measured."
        )
    cut = evaluation.cut()
    if not cut:
        return
    on_voi = sum(row["measured_on"] == "voi" for row in cut)
    many = len(cut) > 1
    which = (
        f"{len(cut)} lesions reach beyond their VOIs" if many else "1 lesion reaches beyond its VOI"
    )
    click.echo(f"\n{which}:")
    for row in cut[:_SHOWN]:
        click.echo(
            f"  {row['case_id']}, lesion {row['lesion_index']}: "
            f"{row['fraction_outside_voi']:.1%} of it lies outside; long axis "
            f"{row['long_axis_in_voi_vox']:.1f} px in the VOI, "
            f"{row['long_axis_vox']:.1f} px as measured here"
        )
    if len(cut) > _SHOWN:
        click.echo(f"  ... and {len(cut) - _SHOWN} more (--to writes cut.csv)")
    if on_voi:
        click.echo(
            f"  Lines and truth of {on_voi} end where the VOI does: --raw RECIPE=DIR measures on "
            "scans, --by cut shows such lesions apart."
        )
