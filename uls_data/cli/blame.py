"""`uls-data blame`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from uls_data.cli.output import json_line, json_option


@click.command(
    epilog="""\b
Examples:
  uls-data blame kidney21_case_00000_lesion_01_sample_0 --manifest vois
  uls-data blame 000001_01_01_109_sample_0 --manifest weak --manifest round1 --json
"""
)
@click.argument("voi_id", metavar="VOI_ID")
@click.option(
    "--manifest",
    "manifests",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="M",
    help="Manifest or OUT folder; may be repeated.  [default: this folder]",
)
@json_option
def command(voi_id: str, manifests: tuple[Path, ...], as_json: bool) -> int:
    """List every change to a VOI, in order.

    Shows how each layer was made or why it was left out, and every correction with its reason,
    evidence, author and date. Builds have no date, because they can be repeated.
    """
    from uls_data.provenance import blame

    for number, event in enumerate(blame(voi_id, list(manifests) or "."), 1):
        if as_json:
            json_line(asdict(event))
            continue
        mask = event.label_voxels_sha256
        click.echo(f"{number}. {event.layer}: {event.kind}: {event.words}")
        click.echo(f"   {f'mask {mask[:16]}, ' if mask else ''}{event.manifest}")
    return 0
