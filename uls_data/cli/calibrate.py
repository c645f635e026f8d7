"""`uls-data calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from uls_data.cli.output import failures, json_line, json_option, next_step, quoted
from uls_data.cli.progress_bar import Progress
from uls_data.cli.trial import trial_options
from uls_data.outcome import Reason, Status


@click.command(
    epilog="""\b
Examples:
  uls-data calibrate vois --out my_quality.json --workers 4
  uls-data build deeplesion --raw DeepLesion --out weak --calibration my_quality.json
"""
)
@click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="M..."
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="JSON to write.")
@click.option(
    "--jitter",
    default=0.05,
    show_default=True,
    help="Noise on the end points, as a fraction of the axis length.",
)
@trial_options
@json_option
def command(manifests: tuple[Path, ...], out: Path, as_json: bool, **options: Any) -> int:
    """Learn from your own lesions with full masks how good the jury's masks are.

    Lines are derived from each human mask, clean and noisy. `build --calibration` then uses the
    file to predict the Dice of each mask. The command prints how well this works for unseen
    patients (cross-validation by patient).
    """
    from uls_data.scoring.calibration import calibrate

    with Progress("masks", "lesions") as bar:
        found = calibrate(
            list(manifests),
            out,
            started=bar.begin,
            progress=lambda masks: bar.step(1, masks),
            **options,
        )
    if as_json:
        names = ("masks", "patients", "error", "correlation")
        json_line({name: getattr(found, name) for name in names})
    else:
        click.echo(
            f"{found.masks} masks of {found.patients} patients. On patients not seen: expected "
            f"calibration error {found.error:.3f}, correlation {found.correlation:.2f}."
        )
        next_step(f"uls-data build deeplesion ... --calibration {quoted(out)}")
    failures(found.failed, "case_id")
    # Lesions that are too small for lines did not fail.
    statuses = {Reason(row["reason"]).status for row in found.failed}
    return 1 if Status.FAILED in statuses else 0
