"""`uls-data explain`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from uls_data.cli.output import json_line, json_option, table
from uls_data.errors import UlsDataError

if TYPE_CHECKING:
    from uls_data.provenance import Explanation


@click.command(
    epilog="""\b
Examples:
  uls-data explain kidney21_case_00000_lesion_01_sample_0 --manifest vois
  uls-data explain liver_0_lesion_01_sample_0 --manifest vois --verify --raw LiTS
  uls-data explain mine_1_lesion_01_sample_0 --manifest vois --verify --raw . --recipe mine.yaml
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
@click.option("--layer", help="Layer of the mask; default: corrected, else annotated.")
@click.option("--verify", is_flag=True, help="Build the case again from the raw data, and compare.")
@click.option("--raw", type=click.Path(path_type=Path), help="Folder of raw data, for --verify.")
@click.option(
    "--recipe", metavar="NAME|FILE", help="Recipe of the build; default: the source's own."
)
@click.option(
    "--replayed", is_flag=True, help="The build took its positions from a manifest (--replay)."
)
@json_option
def command(
    voi_id: str,
    manifests: tuple[Path, ...],
    layer: str | None,
    verify: bool,
    raw: Path | None,
    recipe: str | None,
    replayed: bool,
    as_json: bool,
) -> int:
    """Follow a VOI's chain of hashes from the raw file to its mask.

    Prints raw file, decoded voxels, recipe, instance, click, VOI and mask, each with its hash.
    Files beside the manifest are compared with it. --verify builds the case again in a temporary
    folder and says at which link the chain first breaks (exit code 1).
    """
    from uls_data.provenance import explain

    if verify != (raw is not None):
        raise UlsDataError("--verify and --raw DIR belong together: the folder of the raw data")
    found = explain(
        voi_id, list(manifests) or ".", layer=layer, raw=raw, recipe=recipe, replayed=replayed
    )
    if as_json:
        for link in found.links:
            json_line({"voi_id": found.voi_id, **asdict(link), "broken": link.broken})
    else:
        _print(found)
    return 1 if found.broken is not None else 0


def _print(found: Explanation) -> None:
    columns = ["link", "hash", "file", "from raw data" if found.verified else "", "in words"]
    table(
        [
            [link.name, link.sha256[:16], link.file, link.walked or "", link.words]
            for link in found.links
        ],
        columns,
    )
    for link in found.links:
        if link.detail:
            click.echo(f"  {link.name}: {link.detail}")
    click.echo(f"Hash of the chain to layer {found.layer}: {found.links[-1].chain_sha256}")
    if found.broken is not None:
        click.echo(f"The chain breaks at: {found.broken.name}")
    elif found.verified:
        click.echo("Walked from the raw data: every link that the manifest states is the same.")
