"""`uls-data errata compare` and `uls-data errata merge`: several curators."""

from __future__ import annotations

from pathlib import Path

import click

from uls_data.cli.output import json_line, json_option, next_step, quoted, table

_SHOWN = 20

overlays_argument = click.argument(
    "overlays", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="OVERLAY..."
)


@click.command(
    short_help="Say how far curators agree; list what to adjudicate.",
    epilog="""\b
Examples:
  uls-data errata compare ann.yaml ben.yaml --list differ.csv
  uls-data triage vois --adjudicate ann.yaml --adjudicate ben.yaml --author chair
""",
)
@overlays_argument
@click.option(
    "--list",
    "to_list",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="CSV",
    help="Write the VOIs on which they differ; `uls-data triage --list` opens it.",
)
@json_option
def compare(overlays: tuple[Path, ...], to_list: Path | None, as_json: bool) -> int:
    """Compare what curators decided, one overlay each.

    Prints Cohen's kappa for each pair of curators: on the decision, then on each decision and each
    reason separately, with the number of VOIs that both decided on after seeing the same mask.
    Where kappa is undefined, it says why.
    """
    from uls_data.errata import compare_errata

    found = compare_errata(list(overlays), to_list=to_list)
    if as_json:
        for pair in found.agreements:
            names = {"first": pair.first, "second": pair.second}
            for kappa in pair.kappas:
                json_line({"kind": "kappa", **names, **vars(kappa)})
            counts = {"one_only": pair.one_only, "other_masks": pair.other_masks}
            json_line({"kind": "pair", **names, **counts})
        for one in found.disagreements:
            json_line({"kind": "disagreement", **vars(one)})
        return 0
    for pair in found.agreements:
        click.echo(f"{pair.first} and {pair.second}: {pair.one_only} VOIs decided by one alone")
        if pair.other_masks:
            click.echo(f"{pair.other_masks} VOIs are not counted: they saw different masks")
        table(
            (
                [k.question, k.n, k.first, k.second, _share(k.observed), _share(k.kappa) or k.why]
                for k in pair.kappas
            ),
            ("question", "n", pair.first, pair.second, "agree", "kappa"),
        )
    _differ([(one.voi_id, one.words) for one in found.disagreements])
    if found.disagreements:
        them = " ".join(f"--adjudicate {quoted(path)}" for path in overlays)
        next_step(f"uls-data triage OUT {them} --author NAME")
    return 0


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _differ(lines: list[tuple[str, str]]) -> None:
    if not lines:
        click.echo("They differ on no VOI.")
        return
    click.echo(f"They differ on {len(lines)} VOIs:")
    table(lines[:_SHOWN], ("voi_id", "detail"))
    if len(lines) > _SHOWN:
        click.echo(f"... and {len(lines) - _SHOWN} more; --json prints all", err=True)


@click.command(
    short_help="Merge overlays of several people.",
    epilog="""\b
Examples:
  uls-data errata merge ann.yaml ben.yaml --out both.yaml
  uls-data errata merge ann.yaml ben.yaml --decision decisions.yaml --out both.yaml
""",
)
@overlays_argument
@click.option(
    "--decision",
    "decisions",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="OVERLAY",
    help="Overlay that wins where it decides on a VOI; may be repeated.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Overlay to write; patches go beside it.",
)
@json_option
def merge(overlays: tuple[Path, ...], decisions: tuple[Path, ...], out: Path, as_json: bool) -> int:
    """Merge overlays of several people into one.

    Takes what one person decided, and what several decided alike. A VOI on which they differ is
    left out and named, and the exit code is 1, unless an overlay with --decision decides it.
    """
    from uls_data.errata import merge_errata

    report = merge_errata(list(overlays), out, decisions=list(decisions))
    if as_json:
        counts = {"vois": report.vois, "corrections": len(report.overlay.corrections)}
        for one in report.conflicts:
            json_line({"kind": "conflict", **vars(one)})
        json_line({"kind": "summary", "overlay": str(out), **counts})
    else:
        said = ", ".join(f"{count} {how}" for how, count in report.vois.items()) or "none"
        click.echo(f"VOIs: {said}")
        if report.conflicts:
            _differ([(one.voi_id, one.words) for one in report.conflicts])
        click.echo(f"Written: {out}")
        next_step(f"uls-data errata check {quoted(out)} --manifest OUT")
    return 1 if report.conflicts else 0
