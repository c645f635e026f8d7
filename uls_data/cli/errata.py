"""`uls-data errata`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from uls_data.cli.errata_edit import edit, manifest_option, take
from uls_data.cli.errata_merge import compare, merge, overlays_argument
from uls_data.cli.output import F, json_line, json_option, next_step, quoted, table
from uls_data.cli.progress_bar import Progress
from uls_data.cli.suggesting import Suggesting

_SHOWN = 20


@click.group(cls=Suggesting, no_args_is_help=True)
def command() -> None:
    """Correct lesions with small text files, as a separate layer.

    An overlay lists corrections: drop a lesion, relabel it, replace its mask by a
    patch, click it again, or note something. Each names the VOI, what is wrong and what shows it,
    the author and the date, and the hashes of the mask before and after.
    """


command.add_command(edit)
command.add_command(take)
command.add_command(compare)
command.add_command(merge)


def _arguments(function: F) -> F:
    return overlays_argument(manifest_option(function))


@command.command(
    short_help="Check whether every correction fits.",
    epilog="""\b
Examples:
  uls-data errata check fixes.yaml --manifest vois
  uls-data errata check first.yaml second.yaml --manifest vois --json
""",
)
@_arguments
@json_option
def check(overlays: tuple[Path, ...], manifests: tuple[Path, ...], as_json: bool) -> int:
    """Check whether each correction fits the data; nothing is written.

    A correction is refused if the mask is not the one that it was written for, or if its result is
    not one lesion that holds the click, on the VOI's own grid. Exit code 1 if one is refused.
    """
    from uls_data.errata import check_errata

    verdicts = _with_bar(check_errata, list(overlays), list(manifests))
    _print(verdicts, as_json)
    if not as_json:
        next_step("uls-data errata apply, with the same overlays and manifests")
    return 1 if any(verdict.outcome == "refused" for verdict in verdicts) else 0


@command.command(
    short_help="Write the layer `corrected` and its manifest.",
    epilog="""\b
Examples:
  uls-data errata apply manifests/uls23/errata/off-centre.yaml --manifest manifests/uls23 --out kept
  uls-data errata apply first.yaml second.yaml --manifest vois
""",
)
@_arguments
@click.option(
    "--out", type=click.Path(path_type=Path), help="OUT folder; default: that of the manifest."
)
@json_option
def apply(
    overlays: tuple[Path, ...], manifests: tuple[Path, ...], out: Path | None, as_json: bool
) -> int:
    """Write the layer `corrected` and its manifest; the original masks are not changed.

    If one correction is refused, the command stops before it writes anything. The same command
    again gives the same bytes. Name overlays in the order in which they were made: the corrections
    of a VOI form one chain of hashes.
    """
    from uls_data.errata import apply_errata

    report = _with_bar(apply_errata, list(overlays), list(manifests), out=out)
    _print(report.verdicts, as_json)
    if not as_json:
        click.echo(f"Written: {report.manifest}")
    if report.replay is not None:
        click.echo(
            "VOIs to cut again from the raw scan, into a separate folder:\n"
            f"  uls-data build SOURCE --raw RAW --out NEW --replay {report.replay}",
            err=True,
        )
    if not as_json:
        next_step(f"uls-data blame VOI_ID --manifest {quoted(report.manifest)}")
    return 0


def _with_bar(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with Progress("VOIs", "VOIs") as bar:
        return function(*arguments, started=bar.begin, progress=lambda n: bar.step(n, n), **options)


def _print(verdicts: Iterable[Any], as_json: bool) -> None:
    verdicts = list(verdicts)
    if as_json:
        for verdict in verdicts:
            json_line(asdict(verdict))
        return
    shown = [v for v in verdicts if v.outcome != "fits"] or verdicts
    table(
        ([v.overlay, v.number, v.voi_id, v.kind, v.outcome, v.detail] for v in shown[:_SHOWN]),
        ("overlay", "no.", "voi_id", "kind", "outcome", "detail"),
    )
    if len(shown) > _SHOWN:
        click.echo(f"... and {len(shown) - _SHOWN} more; --json prints all", err=True)
    counts = Counter(v.outcome for v in verdicts)
    click.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
