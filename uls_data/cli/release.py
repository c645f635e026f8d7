"""`uls-data release`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import click

from uls_data.cli.output import json_line, json_option, next_step, quoted, table
from uls_data.cli.progress_bar import Progress
from uls_data.cli.suggesting import Suggesting

_SHOWN = 200


@click.group(cls=Suggesting, no_args_is_help=True)
def command() -> None:
    """Build, verify and compare releases."""


@command.command(
    "build",
    epilog="""\b
Examples:
  uls-data release build vois --version 2026.1 --to release
  uls-data release build vois --version 2026.1 --to release --source kits21 --source mdsc_lung
  uls-data release build vois --version 2026.1 --to here --local-only
""",
)
@click.argument("out", type=click.Path(path_type=Path), metavar="OUT")
@click.option("--version", required=True, help="Version of the data, such as 2026.1.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--source", "sources", multiple=True, metavar="NAME", help="Only these sources.")
@click.option("--layer", "layers", multiple=True, metavar="NAME", help="Only these layers.")
@click.option(
    "--recipe",
    "recipes",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Recipe of your own source, for its licence terms.",
)
@click.option(
    "--certificate",
    "certificates",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="CERT",
    help="Certificate of `certify` that rows name: the card quotes it.",
)
@click.option(
    "--part-size",
    type=click.IntRange(min=1),
    default=2_000_000_000,
    show_default=True,
    help="Maximum size of a part in bytes.",
)
@click.option(
    "--local-only",
    is_flag=True,
    help="Include what may not be passed on; every part is marked.",
)
@click.option("--drop-leaks", is_flag=True, help="Leave out rows that `audit` flagged.")
@json_option
def build(
    out: Path,
    version: str,
    to: Path,
    sources: tuple[str, ...],
    layers: tuple[str, ...],
    recipes: tuple[Path, ...],
    certificates: tuple[Path, ...],
    part_size: int,
    local_only: bool,
    drop_leaks: bool,
    as_json: bool,
) -> int:
    """Write a release of a build: the same build gives the same bytes.

    Writes tar parts of whole VOIs with manifest, licence and attribution of each source, a data
    card, a change log of the data, SHA256SUMS, and release.json with two hashes: of the data
    (payload) and of everything known about them (provenance). Unpacked, the parts are laid out
    like a build.

    The command refuses images and labels that do not pair, files that do not match their rows,
    missing licence terms, and sources that may not be passed on, such as LNDb. After a kill, run
    the same command again to continue.
    """
    from uls_data.release import release_build

    with Progress("VOIs", "VOIs") as bar:
        report = release_build(
            out,
            to,
            version,
            sources=sources,
            layers=layers,
            recipes=recipes,
            certificates=certificates,
            part_size=part_size,
            local_only=local_only,
            drop_leaks=drop_leaks,
            started=bar.begin,
            progress=lambda vois: bar.step(vois, vois),
        )
    record = report.record
    if as_json:
        for part in record.parts:
            json_line({"kind": "part", **part.model_dump(mode="json")})
        json_line(
            {
                "kind": "release",
                "version": record.version,
                "release_sha256": report.release_sha256,
                "payload_root": record.payload_root,
                "provenance_root": record.provenance_root,
                "local_only": record.local_only,
            }
        )
        return 0
    table(
        [
            [name, its.lesions, its.vois, its.rows, its.licence]
            for name, its in record.sources.items()
        ],
        ("source", "lesions", "VOIs", "rows", "licence"),
    )
    for reason, count in record.left_out.items():
        click.echo(f"{count} rows left out: {reason}")
    click.echo(f"\n{len(record.parts)} parts in {to}; README.md there is the data card.")
    click.echo(f"payload root     {record.payload_root}")
    click.echo(f"provenance root  {record.provenance_root}")
    click.echo(f"release          {report.release_sha256}   (publish it beside the files)")
    if record.local_only:
        click.echo("LOCAL ONLY: this release may not be uploaded or passed on.", err=True)
    next_step(f"uls-data release verify {quoted(to)}")
    return 0


@command.command(
    "verify",
    short_help="Name every file that is not as released.",
    epilog="""\b
Examples:
  uls-data release verify release
  uls-data release verify release --release-sha256 HASH --json
""",
)
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--release-sha256",
    metavar="HASH",
    help="The hash that names the release, as it was published; `release build` prints it.",
)
@json_option
def verify(folder: Path, release_sha256: str | None, as_json: bool) -> int:
    """Name every file of a release that is missing, extra, changed, renamed or swapped.

    Works offline, on packed and on unpacked parts. Every file is read; a run that was
    killed continues where it stopped. Exit code 1 if anything is wrong.
    """
    from uls_data.release import release_verify

    with Progress("files", "files") as bar:
        found = release_verify(
            folder,
            release_sha256=release_sha256,
            started=bar.begin,
            progress=lambda files: bar.step(files, files),
        )
    if as_json:
        for finding in found.findings:
            json_line({"kind": finding.kind, "file": finding.file, "detail": finding.detail})
    elif found.findings:
        table(
            [[its.kind, its.file, its.detail] for its in found.findings[:_SHOWN]],
            ("fault", "file", "what"),
        )
        if len(found.findings) > _SHOWN:
            click.echo(f"... {len(found.findings) - _SHOWN} more; --json prints all", err=True)
    record = found.record
    if not as_json and record is not None:
        click.echo(f"release {record.version}  {record.own_sha256()}")
        click.echo(f"payload root     {record.payload_root}")
        click.echo(f"provenance root  {record.provenance_root}")
        if record.local_only:
            click.echo("LOCAL ONLY: this release may not be uploaded or passed on.")
    state = f"{len(found.findings)} faults" if found.findings else "whole"
    click.echo(f"{found.files} files: {state}", err=as_json)
    if not as_json:
        if found.findings:
            next_step("get or unpack the files named above again, then run the same command")
        else:
            next_step(
                f"uls-data stats {quoted(folder)}, uls-data query {quoted(folder)} EXPRESSION"
            )
    return 1 if found.findings else 0


@command.command(
    "diff",
    epilog="""\b
Examples:
  uls-data release diff release-2026.1 release-2026.2
  uls-data release diff release-2026.1 vois --json
""",
)
@click.argument("old", type=click.Path(path_type=Path), metavar="OLD")
@click.argument("new", type=click.Path(path_type=Path), metavar="NEW")
@json_option
def diff(old: Path, new: Path, as_json: bool) -> int:
    """List what differs between two releases, and why.

    Lesions added and removed, masks changed (with Dice, laid over each other in the scan),
    images changed, clicks and measurements moved, types and splits relabelled, licences
    changed. Reasons come from the rows: a correction's text, or else another version of
    recipe or software. OUT folders of builds can be compared, too.
    """
    from uls_data.release import release_diff

    with Progress("sources", "sources") as bar:
        found = release_diff(
            old, new, started=bar.begin, progress=lambda sources: bar.step(sources, sources)
        )
    if as_json:
        for difference in found:
            json_line(asdict(difference))
        return 0
    if found:
        table(
            [
                [its.kind, its.voi_id or its.source, its.layer, its.dice, its.detail, its.reason]
                for its in found[:_SHOWN]
            ],
            ("what", "VOI", "layer", "Dice", "detail", "reason"),
        )
        if len(found) > _SHOWN:
            click.echo(f"... {len(found) - _SHOWN} more; --json prints all", err=True)
        counts = Counter(its.kind for its in found)
        click.echo("\n" + ", ".join(f"{count} {kind}" for kind, count in counts.items()))
    else:
        click.echo("Equal: the same lesions, voxels, measurements and licences.")
    return 0
