"""`uls-data export`."""

from __future__ import annotations

from pathlib import Path

import click

from uls_data.cli.output import Progress, json_line, json_option

_SHOWN_FAILURES = 10


@click.group(no_args_is_help=True)
def command() -> None:
    """Write VOIs in the layout of another program."""


@command.command(
    "grand-challenge",
    epilog="""\b
Examples:
  uls-data export grand-challenge vois --to stacks
  docker run -v $PWD/stacks/job-001/input:/input -v $PWD/answer:/output ALGORITHM
  uls-data evaluate --pred answer/images/ct-binary-uls --truth stacks/job-001/ground-truth
""",
)
@click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="M..."
)
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for the jobs.")
@click.option("--layer", help="Layer of the masks; default: annotated where there is one.")
@click.option(
    "--stack-size",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="VOIs of a job, at most; the challenge's jobs have 100.",
)
@json_option
def grand_challenge(
    manifests: tuple[Path, ...], to: Path, layer: str | None, stack_size: int, as_json: bool
) -> int:
    """Write stacks as the ULS23 challenge's containers read them, and their truth.

    Each job-NNN holds `input`, what a container sees as /input, and `ground-truth`,
    what the challenge's evaluation asks for: masks in the same order, spacings, the
    index of the first click of each lesion (single_sample.json) and all pairs of
    clicks on a lesion with their translation in mm (multi_sample.json; build with
    --clicks K for it). 16.8 MB an image, not compressed.
    """
    from uls_data.export import export_grand_challenge

    bar = Progress("VOIs", "VOIs")
    try:
        found = export_grand_challenge(
            list(manifests),
            to,
            layer=layer,
            stack_size=stack_size,
            started=bar.begin,
            progress=lambda vois: bar.step(vois, vois),
        )
    finally:
        bar.end()
    for row in found.failed[:_SHOWN_FAILURES]:
        click.echo(f"  {row['voi_id']}: {row['reason']}: {row['detail']}", err=True)
    if len(found.failed) > _SHOWN_FAILURES:
        click.echo(f"  ... and {len(found.failed) - _SHOWN_FAILURES} more", err=True)
    if as_json:
        for job in found.jobs:
            json_line({"job": str(job)})
    else:
        click.echo(
            f"{found.vois} VOIs of {found.lesions} lesions in {len(found.jobs)} jobs, "
            f"{found.with_truth} with truth: {to}"
        )
    return 1 if found.failed else 0
