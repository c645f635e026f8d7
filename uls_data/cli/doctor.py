"""`uls-data doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from uls_data.cli.output import json_line, json_option, next_step, prose


@click.command(
    "doctor",
    epilog="""\b
Examples:
  uls-data doctor
  uls-data doctor --out /data/vois --json
""",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default="current folder",
    help="Where builds will be written.",
)
@json_option
def command(out: Path, as_json: bool) -> int:
    """Report what this machine can do, what will be slow, and why.

    Exit code 1: something must be fixed first.
    """
    from uls_data.reporting.doctor import doctor

    found = doctor(out)
    for finding in found:
        if as_json:
            json_line(asdict(finding))
            continue
        indent = " " * 24
        prose(finding.found, indent, f"{finding.state:8} {finding.what:14} ")
        if finding.advice:
            prose(finding.advice, indent)
    if not as_json:
        click.echo()
        next_step("uls-data recipe list, or uls-data recipe new NAME for your own data")
    return 1 if any(finding.state == "bad" for finding in found) else 0
