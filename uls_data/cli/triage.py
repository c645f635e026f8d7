"""`uls-data triage`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from uls_data.cli.output import json_line, json_option

_SHOWN = 5


@click.command(
    epilog="""\b
Examples:
  uls-data triage vois
  uls-data triage vois --where 'layer == "jury" and predicted_dice < 0.8' --sort predicted_dice
  uls-data triage vois --where 'agreement_level > 1' --sort -uncertainty
  uls-data triage vois --list vois/report-files/outliers.csv
  uls-data triage vois --port 8765 --overlay fixes/round1.yaml --author reader-1
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
    help="Errata overlay for the verdicts.  [default: OUT/errata/triage.yaml]",
)
@click.option(
    "--author",
    default="curator",
    show_default=True,
    metavar="NAME",
    help="Name or handle that signs the verdicts; no address.",
)
@json_option
def command(
    out: Path,
    where: str,
    sort: str | None,
    listed: Path | None,
    port: int,
    overlay: Path | None,
    author: str,
    as_json: bool,
) -> int:
    """Look at VOIs one by one in a browser, and judge them with the keyboard.

    A page on this machine alone shows three planes of each VOI, with outline and
    lines. `a` accepts, `r` rejects, `n` notes, `u` undoes, `j` jumps to the worst by a
    column, `?` shows all keys. Each verdict goes at once into an errata overlay, a
    rejected lesion as `drop`; nothing is lost if the server dies, and nothing that
    was built is changed until `errata apply`.

    From another machine: ssh -L 8765:127.0.0.1:8765 HOST, with --port 8765.
    """
    from uls_data.triage import triage_server

    with triage_server(
        out, where, sort=sort, listed=listed, port=port, overlay=overlay, author=author
    ) as server:
        path = server.verdicts.path
        if as_json:
            json_line(
                {
                    "kind": "address",
                    "address": server.address,
                    "vois": len(server.lesions),
                    "overlay": str(path),
                    "unknown": server.lesions.unknown,
                }
            )
        else:
            click.echo(f"Open in a browser on this machine: {server.address}")
            click.echo(
                f"{len(server.lesions)} VOIs; verdicts go to {path}, signed {author}. Ctrl-C ends.",
                err=True,
            )
            if unknown := server.lesions.unknown:
                click.echo(
                    f"{len(unknown)} of the list are not among the masks: "
                    f"{', '.join(unknown[:_SHOWN])}{', ...' if len(unknown) > _SHOWN else ''}",
                    err=True,
                )
        with suppress(KeyboardInterrupt):
            server.serve_forever()
        counts = server.counts()
    if as_json:
        json_line({"kind": "summary", **counts, "vois": len(server.lesions), "overlay": str(path)})
        return 0
    said = ", ".join(f"{count} {word}" for word, count in counts.items())
    click.echo(f"\n{len(server.lesions)} VOIs: {said}.")
    if path.is_file():
        click.echo(f"Next: uls-data errata check {path} --manifest {out}")
    return 0
