"""`uls-data evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from uls_data.cli.output import failures, json_line, json_option, next_step, table, workers_option
from uls_data.cli.progress_bar import Progress

_MASKS = click.Path(exists=True, path_type=Path)


@click.command(
    epilog="""\b
Examples:
  uls-data evaluate --pred predictions --truth labels/annotated
  uls-data evaluate --pred out --layer pseudo3d-r1 --truth vois --by lesion_type --json
  uls-data evaluate --pred round2 --against round1 --truth vois --to scores
  uls-data evaluate --pred output/images/ct-binary-uls --truth job-001/ground-truth
"""
)
@click.option("--pred", required=True, type=_MASKS, metavar="DIR|M", help="Masks to score.")
@click.option("--truth", required=True, type=_MASKS, metavar="DIR|M", help="The true masks.")
@click.option("--against", type=_MASKS, metavar="DIR|M", help="A second model to compare with.")
@click.option("--layer", help="Layer to score, if --pred holds several.")
@click.option("--against-layer", help="The same for --against.")
@click.option("--truth-layer", help="The same for --truth; default: annotated.")
@click.option(
    "--by",
    type=click.Choice(["all", "lesion_type", "source"]),
    multiple=True,
    help="Groups to print; may be repeated. Default: all and lesion_type.",
)
@workers_option
@click.option(
    "--to", type=click.Path(path_type=Path), help="Folder for scores (CSV), metrics.json and plot."
)
@json_option
def command(
    pred: Path,
    truth: Path,
    against: Path | None,
    by: tuple[str, ...],
    to: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Score 3D masks with the challenge's measures, and with their corrected forms.

    DIR is a folder of NIfTI masks named like their VOIs, or one with a stack of the
    challenge; M a manifest or the OUT folder of a build. A VOI of the truth without a mask is
    scored as an empty mask. The first click of each lesion counts; further clicks give the
    consistency, which the ChallengeScore needs.

    "corrected" fixes errors of the challenge's code: two empty masks agree, an empty mask has no
    axes, and clicks are compared where both VOIs see the scan.
    Intervals are 95 % of a bootstrap by patient. If rows hold a reader's lines, 3D pseudo-masks
    are compared with the ellipsoid of these lines, which they should beat. --json: one object per
    line, `kind` says what: voi, summary, comparison, ellipsoid, gain_on_ellipsoid or unscored.
    """
    from uls_data.io import writing_to
    from uls_data.scoring.volumes import evaluate

    with Progress("VOIs", "lesions") as bar:
        found = evaluate(
            pred,
            truth,
            against=against,
            started=bar.begin,
            progress=lambda rows: bar.step(1, rows),
            **options,
        )
    if to is not None:
        names = (pred.name, "" if against is None else against.name)
        with writing_to(to):
            found.write(to, names if names[0] != names[1] else (str(pred), str(against)))
    groups = by or ("all", "lesion_type")
    (_print_json if as_json else _print)(found, groups)
    failures(found.failed)
    if not as_json:
        if to is not None:
            click.echo(f"Scores, tables and plot: {to}")
            next_step(
                f"sort {to / 'vois.csv'} by dice; uls-data triage OUT --list shows them in order"
            )
        else:
            next_step("the same with --to DIR writes the scores of every VOI")
    return 1 if found.failed else 0


def _print_json(found: Any, groups: Sequence[str]) -> None:
    for row in found.rows:
        json_line({"kind": "voi", **row})
    for row in found.unscored:
        json_line({"kind": "unscored", **row})
    for name in groups:
        for row in found.summary(name):
            json_line({"kind": "summary", "by": name, **row})
        for row in found.comparison(name) if found.other is not None else ():
            json_line({"kind": "comparison", "by": name, **row})
        for row in found.ellipsoid.summary(name) if found.ellipsoid is not None else ():
            json_line({"kind": "ellipsoid", "by": name, **row})
        for row in found.gain_on_ellipsoid(name):
            json_line({"kind": "gain_on_ellipsoid", "by": name, **row})


def _print(found: Any, groups: Sequence[str]) -> None:
    for name in groups:
        rows = found.summary(name)
        if len(groups) > 1 and name != "all" and len(rows) < 2:
            continue
        click.echo("\nOver all lesions:" if name == "all" else f"\nBy {name}:")
        table([_summary_line(row) for row in rows], _HEADER)
        if found.other is not None:
            click.echo("\nGain on the other model:")
            table([_comparison_line(row) for row in found.comparison(name)], _GAIN_HEADER)
        if found.ellipsoid is not None:
            click.echo("\nThe ellipsoid of the lines, the least to beat, and the gain on it:")
            table([_summary_line(row) for row in found.ellipsoid.summary(name)], _HEADER)
            table([_comparison_line(row) for row in found.gain_on_ellipsoid(name)], _GAIN_HEADER)
    missing = sum(row["status"] != "ok" for row in found.rows)
    if missing:
        click.echo(f"\n{missing} VOIs without a readable mask are scored as empty.")
    if all(row["consistency"] is None for row in found.rows):
        click.echo("\nNo lesion has a second click: no consistency, so no ChallengeScore.")


_HEADER = (
    *("group", "lesions", "patients", "Dice", "95 %", "corrected", "long SMAPE", "short SMAPE"),
    *("long in 10 %", "short in 10 %", "consistency", "corrected", "score", "95 %", "corrected"),
)
_GAIN_HEADER = (
    *("group", "lesions", "Dice", "95 %", "median", "better", "worse", "equal"),
    *("long SMAPE", "short SMAPE", "consistency"),
)


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3f}"


def _spread(row: dict[str, Any], name: str) -> str:
    std = row[f"{name}_std"]
    return _number(row[name]) + ("" if std is None else f" ± {std:.3f}")


def _interval(row: dict[str, Any], name: str, sign: str = "") -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "-" if low is None else f"{low:{sign}.3f} to {high:{sign}.3f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _summary_line(row: dict[str, Any]) -> list[Any]:
    return [
        *(row["group"], row["lesions"], row["patients"]),
        *(_spread(row, "dice"), _interval(row, "dice"), _number(row["dice_corrected"])),
        *(_spread(row, "long_sape"), _spread(row, "short_sape")),
        *(_share(row["long_within_10"]), _share(row["short_within_10"])),
        *(_spread(row, "consistency"), _number(row["consistency_corrected"])),
        *(_number(row["challenge_score"]), _interval(row, "challenge_score")),
        _number(row["challenge_score_corrected"]),
    ]


def _comparison_line(row: dict[str, Any]) -> list[Any]:
    return [
        *(row["group"], row["lesions"]),
        *(_number(row["dice"], "+"), _interval(row, "dice", "+"), _number(row["dice_median"], "+")),
        *(row["better"], row["worse"], row["equal"]),
        *(_number(row[name], "+") for name in ("long_sape", "short_sape", "consistency")),
    ]
