"""`uls-data stats`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from uls_data.cli.output import json_lines, json_option, table

_GROUPS = ["source", "layer", "lesion_type", "supervision", "split"]


@click.command(
    epilog="""\b
Examples:
  uls-data stats vois
  uls-data stats vois/manifest/kits21.parquet --by lesion_type --json
"""
)
@click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="M..."
)
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(_GROUPS),
    help="Group by this column; may be repeated. Default: source and layer.",
)
@json_option
def command(manifests: tuple[Path, ...], by: tuple[str, ...], as_json: bool) -> int:
    """Print the paper's Table 1 of any manifest.

    Axes are in pixels of the axial slice, mean and sample standard deviation over
    lesions; a lesion with several clicks counts once.
    """
    keys = by or ("source", "layer")
    if as_json:
        from uls_data.manifest.stats import stats

        json_lines(stats(list(manifests), keys))
    else:
        print_stats(list(manifests), keys)
    return 0


def print_stats(manifests: Sequence[Path], by: Sequence[str]) -> None:
    """Print Table 1 of manifests as a plain table."""
    from uls_data.manifest.stats import stats

    frame = stats(manifests, by)
    rows = [
        [
            *(row[name] for name in by),
            row["patients"],
            row["series"],
            row["lesions"],
            row["heldout"],
            _mean_std(row, "long"),
            _mean_std(row, "short"),
            row["skipped"],
            row["failed"],
        ]
        for row in frame.to_dict("records")
    ]
    header = ["patients", "series", "lesions", "held-out", "long axis px", "short axis px"]
    table(rows, [*by, *header, "skipped", "failed"])


def _mean_std(row: dict[Any, Any], axis: str) -> str:
    mean, std = row[f"{axis}_mean"], row[f"{axis}_std"]
    if mean != mean:
        return "-"
    return f"{mean:.2f}" + (f" ± {std:.2f}" if std == std else "")
