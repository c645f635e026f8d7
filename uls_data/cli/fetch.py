"""`uls-data fetch`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uls_data.cli.output import SHOWN_FAILURES, json_line, json_option, next_step, quoted
from uls_data.cli.progress_bar import Progress

if TYPE_CHECKING:
    from uls_data.fetching.downloading import FetchReport
    from uls_data.fetching.wanted import Item

_MB = 1_000_000
_WORDS = {"series": "series", "file": "files", "by_hand": "by hand"}


@click.command(
    short_help="Download what a recipe pins; resumable, checked.",
    epilog="""\b
Examples:
  uls-data fetch eay131 --raw /data/eay131 --dry-run
  uls-data fetch eay131 --raw /data/eay131 --limit 10
  uls-data fetch my_source.yaml --raw /data/mine --only P-001
""",
)
@click.argument("recipe", metavar="NAME|FILE")
@click.option("--raw", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--only", multiple=True, metavar="CASE", help="Only this case; may be repeated.")
@click.option("--limit", type=int, help="Only the first N cases.")
@click.option(
    "--even-only",
    is_flag=True,
    help="Leave out series whose slices are not an even stack, by the IDC's checks.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be fetched; write nothing.")
@json_option
def command(recipe: str, raw: Path, as_json: bool, **arguments: Any) -> int:
    """Download what a recipe pins: DICOM series of the IDC, and files by their hash.

    Run the same command again to continue an interrupted download; complete files are not fetched
    again. Exit code 1: something failed, was refused, or has to be downloaded by hand.
    """
    from uls_data.fetching import fetch

    came = 0

    def step(size: int, things: int) -> None:
        nonlocal came
        before = came
        came += size
        bar.step(came // _MB - before // _MB, things)

    start = time.monotonic()
    with Progress("things", "MB") as bar:
        report = fetch(
            recipe,
            raw,
            **arguments,
            started=lambda total, whole: bar.begin(total // _MB, whole // _MB),
            progress=step,
        )
    if as_json:
        for item in report.items:
            json_line(_record(report, item))
        json_line(_totals(report))
    else:
        _print(report, recipe, raw, time.monotonic() - start, arguments["dry_run"])
    return 0 if arguments["dry_run"] or report.complete else 1


def _record(report: FetchReport, item: Item) -> dict[str, Any]:
    return {
        "source": report.source,
        "kind": item.kind,
        "case_id": item.case,
        "path": item.path or None,
        "url": item.pinned.url,
        "licence": item.licence,
        "files": item.files,
        "size_bytes": item.size_bytes,
        "even": item.even,
        "outcome": item.outcome.value,
        "reason": item.reason,
        "detail": item.detail,
    }


def _totals(report: FetchReport) -> dict[str, Any]:
    return {
        "source": report.source,
        "kind": "total",
        "outcomes": {
            f"{outcome}:{reason}" if reason else outcome: number
            for (outcome, reason), number in sorted(report.outcomes().items(), key=str)
        },
        "size_bytes": sum(item.size_bytes for item in report.items),
        "needed_bytes": report.needed_bytes,
        "free_bytes": report.free_bytes,
        "fits": report.fits,
    }


def _print(report: FetchReport, recipe: str, raw: Path, seconds: float, dry_run: bool) -> None:
    cases = len({item.case for item in report.items if item.case is not None})
    click.echo(f"{report.source}: {_sum(report.items)}, of {cases} cases.")
    licences = Counter(item.licence for item in report.items if item.kind != "by_hand")
    for licence, number in sorted(licences.items()):
        click.echo(f"  licence {licence}: {number}")
    _geometry(report)
    for outcome, words in (
        ("whole", "There already"),
        ("planned", "To fetch"),
        ("fetched", f"Fetched in {seconds:.0f} s"),
        ("left_out", "Left out by --even-only"),
        ("refused", "Refused"),
        ("failed", "Failed"),
    ):
        if items := report.of(outcome):
            click.echo(f"{words}: {_sum(items)}")
    bad = report.of("refused", "failed")
    for item in bad[:SHOWN_FAILURES]:
        click.echo(f"  {item.path or item.kind}: {item.reason}: {item.detail}", err=True)
    if len(bad) > SHOWN_FAILURES:
        click.echo(f"  ... and {len(bad) - SHOWN_FAILURES} more", err=True)
    if dry_run:
        enough = "enough" if report.fits else "TOO FEW"
        click.echo(
            f"The disk of {raw} has {report.free_bytes / 1e9:.1f} GB free, {enough} for the "
            f"{report.needed_bytes / 1e9:.1f} GB that these files take there."
        )
        click.echo("Nothing was touched.", err=True)
    elif report.of("failed"):
        next_step("fix what failed, then run the same command again")
    else:
        next_step(f"uls-data build {quoted(recipe)} --raw {quoted(raw)} --out OUT --dry-run")
    sys.stdout.flush()


def _sum(items: Sequence[Item]) -> str:
    """Say how many there are of each kind, and their bytes."""
    kinds = Counter(item.kind for item in items)
    parts = [f"{number} {_WORDS[kind]}" for kind, number in sorted(kinds.items())]
    modalities = Counter(
        modality for item in items if (modality := getattr(item.pinned, "modality", None))
    )
    if modalities:
        parts[-1] += f" ({', '.join(f'{n} {kind}' for kind, n in sorted(modalities.items()))})"
    return f"{', '.join(parts) or 'nothing'}, {sum(item.size_bytes for item in items) / 1e9:.3f} GB"


def _geometry(report: FetchReport) -> None:
    """Say which image series are known not to be even stacks, before they are downloaded."""
    known = [item for item in report.items if item.even is not None]
    uneven = [item for item in known if not item.even]
    if not known:
        if any(item.kind == "series" for item in report.items):
            click.echo("  geometry: the list does not say which series are even stacks of slices")
        return
    gigabytes = sum(item.size_bytes for item in uneven) / 1e9
    click.echo(
        f"  geometry: of {len(known)} series that the IDC checked, {len(uneven)} "
        f"({gigabytes:.3f} GB) are not even stacks of slices"
        + ("; --even-only leaves them out" if uneven else "")
    )
    for item in uneven[:SHOWN_FAILURES]:
        why = getattr(item.pinned, "uneven_because", None) or "no reason given"
        click.echo(f"    {item.path}: {why}", err=True)
    if len(uneven) > SHOWN_FAILURES:
        click.echo(f"    ... and {len(uneven) - SHOWN_FAILURES} more", err=True)
