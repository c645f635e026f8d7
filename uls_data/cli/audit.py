"""`uls-data audit`."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from uls_data.cli.output import json_line, json_option, next_step, quoted, shown, table
from uls_data.cli.progress_bar import Progress
from uls_data.manifest.row import Column

if TYPE_CHECKING:
    from uls_data.auditing import AuditReport, Match
    from uls_data.passports import Seen

_SHOWN = 20
_MEMBERS = 6


@click.command(
    epilog="""\b
Examples:
  uls-data audit vois
  uls-data audit vois/manifest/deeplesion.parquet vois/manifest/deeplesion3d.parquet \\
      --voxels --out audited.parquet
  uls-data audit manifests/uls23 --json | grep '"leak": true'
  uls-data audit testset --against model
"""
)
@click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="M..."
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="M2", help="Manifest to write, with flags."
)
@click.option(
    "--voxels", is_flag=True, help="Compare fingerprints of images and labels, not just names."
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Worker processes, for --voxels.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PASSPORT|MODEL",
    help="Say instead which rows a model has seen; may be repeated.",
)
@json_option
def command(
    manifests: tuple[Path, ...],
    out: Path | None,
    voxels: bool,
    workers: int,
    against: tuple[Path, ...],
    as_json: bool,
) -> int:
    """Find scans, lesions and patients under two names, and leaks between splits.

    Compares hashes of images and masks, names of scans, patients, and the tracks that follow
    lesions from study to study. With --voxels it also compares fingerprints of images and of 3D
    masks. These survive cropping, padding, turning and mirroring, but not resampling or rescaling.
    A group leaks if one of its rows is held out and another is not, or comes from another source.
    M2 has every row, with the flags leak_same_scan and leak_heldout_patient.

    With --against, rows are compared with those that trained a model: the same image file, the
    same voxels, the same scan, the same patient, under any name that the crosswalks of recipes
    know.

    Exit code 1: rows leak that are not held out by their own split, or files could not be read.
    With --against: the model has seen rows, or may have seen some.
    """
    if against:
        if out is not None or voxels:
            raise click.UsageError("--against cannot be combined with --out or --voxels")
        return _against(manifests, against, as_json)
    from uls_data.auditing import CHECKS, audit

    with Progress("rows", "rows") as bar:
        report = audit(
            list(manifests),
            out=out,
            voxels=voxels,
            workers=workers,
            started=bar.begin,
            progress=lambda count: bar.step(count, count),
        )
    if as_json:
        for finding in report.findings:
            json_line(_record(report, finding))
        for one in report.untold:
            json_line({"check": "untold", "sources": one.sources, "evidence": one.evidence})
    else:
        counts = []
        for check, meaning in CHECKS.items():
            some = [finding for finding in report.findings if finding.check == check]
            leaks = [finding for finding in some if finding.leak]
            counts.append([check, len(some), _rows(some), len(leaks), _rows(leaks), meaning])
        table(counts, ("check", "groups", "rows", "leaks", "leaking rows", "meaning"))
        _print_groups(report)
        _print_flags(report)
        for one in report.untold:
            click.echo(
                f"{' and '.join(one.sources)} share scans, and names do not say which: "
                f"add --voxels. ({one.evidence})"
            )
        if out is not None:
            click.echo(f"Written: {out}")
            next_step(f"uls-data query {quoted(out)} 'flagged(\"leak_same_scan\")'")
        else:
            next_step("the same with --out M writes the rows with their flags")
    for number, problem in report.unread[:_SHOWN]:
        click.echo(shown(f"  {report.rows[number]['voi_id']}: not read: {problem}"), err=True)
    if report.unread:
        click.echo(f"{len(report.unread)} rows without fingerprints", err=True)
    return 1 if report.training or report.unread else 0


def _against(manifests: tuple[Path, ...], models: tuple[Path, ...], as_json: bool) -> int:
    from uls_data.auditing.against import audit_against
    from uls_data.passports.seen import KINDS

    found = audit_against(list(manifests), list(models))
    seen, untold = found.seen, found.untold
    if as_json:
        for row, kinds in found.rows(seen):
            json_line({"seen": True, "kinds": kinds, **row})
        for row, _ in found.rows(untold):
            json_line({"seen": None, "kinds": [], **row})
        return 1 if seen.any() or untold.any() else 0
    counts = [[kind, int(found.kinds[kind].sum()), meaning] for kind, meaning in KINDS.items()]
    others = found.judged & ~seen
    counts += [
        ["seen", int(seen.sum()), "rows that trained the model, or share one of these with some"],
        ["held out", int((others & found.heldout).sum()), "of patients that its training left out"],
        ["cannot be told", int(untold.sum()), _why_untold(found)],
        ["not seen", int((others & ~found.heldout & ~untold).sum()), "no row of its training"],
    ]
    table(counts, ("kind", "rows", "meaning"))
    for row, kinds in islice(found.rows(seen), _SHOWN):
        name = shown(f"{row['source']} {row['voi_id']} {row['layer']}")
        click.echo(f"  {name}: {', '.join(kinds)}")
    if seen.sum() > _SHOWN:
        click.echo(f"  ... {int(seen.sum()) - _SHOWN} more; --json names them all")
    ended = int((~found.judged).sum())
    if ended:
        click.echo(f"{ended} rows without a VOI, which show nothing, were not judged", err=True)
    if found.nameless:
        click.echo(
            f"{found.nameless} rows that trained the model have neither hash nor series: they are "
            "known by their names alone",
            err=True,
        )
    next_step("the same with --json names every row, for a manifest without them")
    return 1 if seen.any() or untold.any() else 0


def _why_untold(found: Seen) -> str:
    if found.passport.complete:
        return "not found by name; they have neither hash nor series"
    return "not found; part of what trained the model is not known"


def _rows(some: list[Match]) -> int:
    return len({number for finding in some for number in finding.rows})


def _record(report: AuditReport, finding: Match) -> dict[str, object]:
    names: tuple[Column, ...] = ("source", "voi_id", "layer", "patient_id", "split")
    rows = [{name: report.rows[number][name] for name in names} for number in finding.rows]
    return {"check": finding.check, "leak": finding.leak, "rows": rows}


def _print_groups(report: AuditReport) -> None:
    """Name the members of each group, leaks first; --json names them all."""
    found = sorted(report.findings, key=lambda finding: not finding.leak)
    for finding in found[:_SHOWN]:
        members = sorted(
            {
                f"{row['source']} {row['case_id']} ({row['split'] or 'no split'})"
                for row in (report.rows[number] for number in finding.rows)
            }
        )
        more = f", ... {len(members) - _MEMBERS} more" if len(members) > _MEMBERS else ""
        leak = ", a leak" if finding.leak else ""
        click.echo(shown(f"  {finding.check}{leak}: {', '.join(members[:_MEMBERS])}{more}"))
    if len(found) > _SHOWN:
        click.echo(f"  ... {len(found) - _SHOWN} more groups; --json names them all")


def _print_flags(report: AuditReport) -> None:
    flagged = Counter(
        (report.rows[number]["source"], flag.value)
        for number, flags in enumerate(report.flags)
        for flag in flags
    )
    sources = sorted({source for source, _ in flagged})
    training = Counter(report.rows[number]["source"] for number in report.training)
    if not sources:
        click.echo("\nNothing leaks.")
        return
    click.echo()
    table(
        [
            [
                source,
                flagged[source, "leak_same_scan"],
                flagged[source, "leak_heldout_patient"],
                training[source],
            ]
            for source in sources
        ],
        ("source", "leak_same_scan", "leak_heldout_patient", "not held out by their split"),
    )
    for number in report.training[:_SHOWN]:
        row = report.rows[number]
        flags = ", ".join(sorted(report.flags[number]))
        click.echo(shown(f"  {row['source']} {row['voi_id']} {row['layer']}: {flags}"))
    if len(report.training) > _SHOWN:
        click.echo(f"  ... {len(report.training) - _SHOWN} more; --out writes them all")
