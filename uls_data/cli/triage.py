"""`uls-data triage`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uls_data.cli.folder import folder_options, view_of
from uls_data.cli.output import json_line, json_option

if TYPE_CHECKING:
    from uls_data.triage import TriageServer

_SHOWN = 5


@click.command(
    epilog="""\b
Examples:
  uls-data triage vois
  uls-data triage vois --where 'layer == "jury" and predicted_dice < 0.8' --sort predicted_dice
  uls-data triage vois --where 'agreement_level > 1' --sort -uncertainty
  uls-data triage vois --list vois/report-files/outliers.csv
  uls-data triage vois --port 8765 --overlay fixes/round1.yaml --author reader-1
  uls-data triage vois --adjudicate ann.yaml --adjudicate ben.yaml --author chair
  uls-data triage vois --draw raw --author reader-1
  uls-data triage nnUNet_raw/Dataset007_Mine --values 2 --limit 20
"""
)
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--where", default="", metavar="EXPRESSION", help="As for `uls-data query`.")
@click.option(
    "--sort",
    metavar="COLUMN",
    help="Smallest values of this column first; largest first with a minus: -uncertainty.",
)
@click.option(
    "--list",
    "listed",
    type=click.Path(path_type=Path),
    metavar="CSV",
    help="Only the VOIs of this table (column voi_id), in its order: the outliers of a report, or "
    "what `uls-data query --csv` printed.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="N",
    help="Port on 127.0.0.1.  [default: a free one]",
)
@click.option(
    "--overlay",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Errata overlay for the verdicts; edited masks go to FILE-edits.yaml beside it.  "
    "[default: OUT/errata/triage.yaml and edits.yaml; for a folder without a manifest "
    "./NAME-triage.yaml]",
)
@click.option(
    "--author",
    metavar="NAME",
    help="Name or handle that signs the verdicts and keeps readers apart; not an address.  "
    "[default: curator]",
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file of verdicts with a reason, one key each.  "
    "[default: leak, shifted, wrong type, two lesions, not a lesion]",
)
@click.option(
    "--adjudicate",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Overlay of a curator; repeat it for each. Shows the VOIs on which they differ, with the "
    "masks that they edited as layers; your decisions go to OUT/errata/decisions.yaml.",
)
@click.option(
    "--draw",
    "raw",
    type=click.Path(path_type=Path),
    metavar="RAW",
    help="Draw the lines of lesions that wait for them; RAW is the folder that the build read.",
)
@click.option(
    "--lines",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CSV",
    help="Table for the lines.  [default: RAW/drawn-lines.csv]",
)
@folder_options
@json_option
def command(
    out: Path,
    where: str,
    sort: str | None,
    listed: Path | None,
    port: int,
    overlay: Path | None,
    author: str | None,
    keys: Path | None,
    adjudicate: tuple[Path, ...],
    raw: Path | None,
    lines: Path | None,
    as_json: bool,
    **folder: Any,
) -> int:
    """Look at VOIs in a browser, on a wall or one by one, and judge them.

    Opens a page, for this machine only, with a wall of small pictures and three planes
    of each VOI with outline and lines. `g` switches between them, `a` accepts, `r` rejects,
    other keys reject with a reason, `n` notes, `e` edits the mask, `u` undoes, `/`
    filters, `j` sorts, and `?` shows all keys. Each verdict is saved at once in an errata
    overlay, a rejected lesion as `drop`. Nothing is lost if the server dies, and nothing
    that was built changes until `errata apply`.

    With --draw the page shows the key slices of lesions known only by their sizes
    (`awaiting_lines`, for example from reports), and you draw each axis with two clicks.
    Lines are saved at once in a table that the next `build` reads. --author keeps readers
    apart: none sees what another drew.

    OUT may be a folder that was never built: nnU-Net raw data, pairs of image and mask
    volumes, DICOM with masks, or a JSON list of pairs (MONAI). It is only read; VOIs are
    cut into a cache, and the command prints what it took for a lesion.

    From another machine: ssh -L 8765:127.0.0.1:8765 HOST, with --port 8765.
    """
    if raw is not None:
        verdicts = {"--sort": sort, "--list": listed, "--overlay": overlay, "--keys": keys}
        for name, value in {**verdicts, "--adjudicate": adjudicate or None}.items():
            if value is not None:
                raise click.UsageError(f"{name} is for verdicts, not for --draw")
        if author is None:
            raise click.UsageError("--draw needs --author NAME, which tells readers apart")
        return _draw(out, raw, where, author, lines, port, as_json)
    if lines is not None:
        raise click.UsageError("--lines is for --draw RAW")
    view = view_of(out, folder, as_json)
    if view is not None:
        out = view.out
        what = "decisions" if adjudicate else "triage"
        overlay = view.outside(overlay or Path(f"{view.source}-{what}.yaml"))
    from uls_data.triage import triage_server

    with triage_server(
        *(out, where),
        sort=sort,
        listed=listed,
        port=port,
        overlay=overlay,
        author=author or "curator",
        keys=keys,
        adjudicate=adjudicate,
    ) as server:
        return _judge(server, out, adjudicate, as_json)


def _judge(server: TriageServer, out: Path, adjudicate: tuple[Path, ...], as_json: bool) -> int:
    path, count, unknown = server.verdicts.path, len(server.lesions), server.lesions.unknown
    edits = server.editor.overlay
    where_to = {"vois": count, "overlay": str(path), "edits": str(edits)}
    _say_address(
        server.address,
        {**where_to, "unknown": unknown},
        f"{count} VOIs; verdicts go to {path}, signed {server.verdicts.author}. Ctrl-C ends.",
        as_json,
    )
    if unknown and not as_json:
        click.echo(
            f"{len(unknown)} of the list are not among the masks: "
            f"{', '.join(unknown[:_SHOWN])}{', ...' if len(unknown) > _SHOWN else ''}",
            err=True,
        )
    with suppress(KeyboardInterrupt):
        server.serve_forever()
    counts = server.counts()
    _say_counts(f"{count} VOIs", counts, where_to, as_json)
    # Verdicts are about the edited masks.
    written = [str(overlay) for overlay in (edits, path) if overlay.is_file()]
    if written and adjudicate and not as_json:
        merged = " ".join([*map(str, adjudicate), *(f"--decision {one}" for one in written)])
        click.echo(f"Next: uls-data errata merge {merged} --out both.yaml")
    elif written and not as_json:
        click.echo(f"Next: uls-data errata check {' '.join(written)} --manifest {out}")
    return 0


def _draw(
    out: Path, raw: Path, where: str, author: str, lines: Path | None, port: int, as_json: bool
) -> int:
    from uls_data.triage import drawing_server

    with drawing_server(out, raw, where, author=author, lines=lines, port=port) as server:
        path, count = server.table.path, len(server.lesions)
        where_to = {"lesions": count, "lines": str(path)}
        _say_address(
            server.address,
            where_to,
            f"{count} lesions; lines go to {path}, drawn by {author}. Ctrl-C ends.",
            as_json,
        )
        with suppress(KeyboardInterrupt):
            server.serve_forever()
        counts = server.counts()
    _say_counts(f"{count} lesions", counts, where_to, as_json)
    if counts["drawn"] and not as_json:
        click.echo(f"Next: give the same `uls-data build` again, with {path} below its --raw")
    return 0


def _say_address(address: str, told: Mapping[str, object], words: str, as_json: bool) -> None:
    if as_json:
        json_line({"kind": "address", "address": address, **told})
        return
    click.echo(f"Open in a browser on this machine: {address}")
    click.echo(words, err=True)


def _say_counts(
    what: str, counts: Mapping[str, int], told: Mapping[str, object], as_json: bool
) -> None:
    if as_json:
        json_line({"kind": "summary", **counts, **told})
        return
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    click.echo(f"\n{what}: {said}.")
