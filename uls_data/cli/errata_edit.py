"""`uls-data errata edit` and `uls-data errata take`: masks edited in another program."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from uls_data.cli.output import F, json_line, json_option, next_step, table

_MEASURED = (
    ("mask_voxels", "voxels"),
    ("volume_mm3", "volume, mm3"),
    ("long_axis_mm", "long axis, mm"),
    ("short_axis_mm", "short axis, mm"),
    ("long_axis_vox", "long axis, px"),
    ("short_axis_vox", "short axis, px"),
    ("long_axis_slice_voi", "slice of the long axis"),
)


manifest_option = click.option(
    "--manifest",
    "manifests",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Manifest or OUT folder of a build or archive; may be repeated.",
)


def _arguments(function: F) -> F:
    for decorate in (
        manifest_option,
        click.option(
            "--overlay",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
            help="Overlay with the edits.  [default: OUT/errata/edits.yaml]",
        ),
        click.option(
            "--source", metavar="NAME", help="If several sources have a VOI of that name."
        ),
        click.option(
            "--layer", metavar="LAYER", help="Mask to edit.  [default: the one that counts]"
        ),
    ):
        function = decorate(function)
    return function


@click.command(
    short_help="Write a VOI's image and mask for 3D Slicer or ITK-SNAP.",
    epilog="""\b
Examples:
  uls-data errata edit kidney21_case_00000_lesion_01_sample_0 --manifest vois --to edits
""",
)
@click.argument("voi_id", metavar="VOI_ID")
@click.option(
    "--to",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="The files go to DIR/VOI_ID.",
)
@_arguments
@json_option
def edit(
    voi_id: str,
    to: Path,
    manifests: tuple[Path, ...],
    overlay: Path | None,
    source: str | None,
    layer: str | None,
    as_json: bool,
) -> int:
    """Write the image and mask of a VOI for 3D Slicer or ITK-SNAP.

    Prints the commands that open them. Edit the mask, save it under its name (or as
    another volume in the same folder, as Slicer does), and take it back with
    `uls-data errata take`. If the overlay already holds an edit of this VOI, you continue
    from that edit.
    """
    from uls_data.errata import write_edit

    found = write_edit(voi_id, list(manifests), to, source=source, layer=layer, overlay=overlay)
    if as_json:
        json_line({"folder": str(found.folder), "commands": found.commands})
        return 0
    click.echo(f"Written: {found.image}, {found.mask}")
    for program, line in found.commands.items():
        click.echo(f"Open in {program}:\n  {line}")
    also = [] if overlay is None else ["--overlay", overlay]
    said = ["--author", "NAME", "--reason", "what was wrong"]
    _next("take", found.folder, manifests, *also, *said)
    return 0


@click.command(
    short_help="Take an edited mask back as a correction.",
    epilog="""\b
Examples:
  uls-data errata take edits/kidney21_case_00000_lesion_01_sample_0 --manifest vois \\
      --author reader-1 --reason "leaks into the renal vein"
  uls-data errata take mine.nii.gz --voi kidney21_case_00200_lesion_03_sample_0 \\
      --manifest vois --author reader-1 --reason "too small"
""",
)
@click.argument("path", type=click.Path(path_type=Path), metavar="DIR|FILE")
@click.option("--author", required=True, metavar="NAME", help="Name or handle; no address.")
@click.option("--reason", required=True, metavar="TEXT", help="What was wrong, in one line.")
@click.option("--evidence", metavar="TEXT", help="What shows that it was wrong, in one line.")
@click.option(
    "--full",
    is_flag=True,
    help="The mask is the whole lesion in 3D, drawn by a human: sets supervision to `full`.",
)
@click.option("--voi", "voi_id", metavar="VOI_ID", help="For a mask file from elsewhere.")
@_arguments
@json_option
def take(
    path: Path,
    author: str,
    reason: str,
    evidence: str | None,
    full: bool,
    voi_id: str | None,
    manifests: tuple[Path, ...],
    overlay: Path | None,
    source: str | None,
    layer: str | None,
    as_json: bool,
) -> int:
    """Take an edited mask back as a correction with author and reason.

    A mask is refused, with the reason, if it is on another grid than its VOI, holds other
    values than 0 and 1, is empty, misses the click, has several parts or reaches into the
    padding. So is one made from a mask that somebody else has corrected since. Small
    faults that leave no doubt are fixed and noted in the evidence. Nothing that was built
    changes until `errata apply`.
    """
    from uls_data.errata import take_edit
    from uls_data.errata.exchange import EVIDENCE

    taken = take_edit(
        path,
        list(manifests),
        author=author,
        reason=reason,
        evidence=evidence or EVIDENCE,
        overlay=overlay,
        voi_id=voi_id,
        source=source,
        layer=layer,
        full=full,
    )
    if as_json:
        json_line(
            {
                "overlay": str(taken.overlay),
                "voi_id": taken.correction.voi_id,
                "patch": taken.correction.patch,
                "flags": list(taken.flags),
                "before": taken.before,
                "after": taken.after,
            }
        )
        return 0
    _print(taken.before, taken.after)
    for flag in taken.flags:
        click.echo(f"Note: {taken.file.name}: {flag}", err=True)
    click.echo(f"Written: {taken.overlay}")
    _next("apply", taken.overlay, manifests)
    return 0


def _next(command: str, what: Path, manifests: Sequence[Path], *more: object) -> None:
    where = [word for path in manifests for word in ("--manifest", path)]
    words = ["uls-data", "errata", command, what, *where, *more]
    next_step(shlex.join(map(str, words)))


def _print(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> None:
    rows = [
        [words, None if before is None else before[name], after[name]] for name, words in _MEASURED
    ]
    table((row for row in rows if row[2] is not None), ("", "before", "after"))
