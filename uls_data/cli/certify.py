"""`uls-data certify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uls_data.cli.output import (
    failures,
    json_line,
    json_option,
    next_step,
    prose,
    quoted,
    table,
    workers_option,
)
from uls_data.cli.progress_bar import Progress

if TYPE_CHECKING:
    from uls_data.certificates import Marks


@click.command(
    epilog="""\b
Examples:
  uls-data certify loop --calibration known --truth vois --beside weak --out cert.json
  uls-data certify loop --calibration known --truth vois --out cert.json --risk 0.05 \\
      --manifest-out certified.parquet
"""
)
@click.argument(
    "manifests", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="M..."
)
@click.option(
    "--calibration",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="M2",
    help="Pseudo-masks, made in the same way, of lesions with full masks; may be repeated.",
)
@click.option(
    "--truth",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="M3",
    help="The full masks of the calibration's VOIs, where M2 does not hold them.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="JSON to write.")
@click.option(
    "--risk", default=0.1, show_default=True, help="Fraction of kept masks that may fail."
)
@click.option("--dice", default=0.7, show_default=True, help="A mask with a lower Dice fails.")
@click.option(
    "--confidence", default=0.95, show_default=True, help="Confidence that the promise holds."
)
@click.option("--layer", help="Layer of M to certify, if it has several in 3D.")
@click.option("--calibration-layer", help="The same for M2.")
@click.option(
    "--member",
    "members",
    multiple=True,
    metavar="NAME",
    help="Member of the ensemble: a 2D method, ellipsoid, or a layer.  [default: ellipsoid, jury]",
)
@click.option(
    "--beside",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="M4",
    help="Further layers of the VOIs, or their images.",
)
@click.option(
    "--manifest-out",
    type=click.Path(path_type=Path),
    metavar="M5",
    help="Write M with the columns certified and certificate; may be M itself.",
)
@click.option(
    "--least-patients",
    type=int,
    help="Calibration patients that a lesion type or size needs.  [default: 29 for 0.1 and 0.95]",
)
@click.option(
    "--jitter",
    default=0.05,
    show_default=True,
    help="Noise of lines that are drawn from full masks, as a share of the axis.",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    help="Random seed for splitting patients into two parts.",
)
@workers_option
@json_option
def command(
    manifests: tuple[Path, ...],
    out: Path,
    manifest_out: Path | None,
    members: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """State a risk for pseudo-masks, and mark the rows that meet it.

    Learns a rule on lesions whose full masks are known, such that, for example, at most 10 % of
    the kept masks have a Dice under 0.7, with 95 % confidence. A score of many measures is fitted
    on some patients; its threshold is tested on the others, with one mask per patient. Lesion
    types and sizes with too few calibration patients are refused. A warning names differences from
    the calibration.

    `filter --certificate` and `selftrain --certificate` keep what meets it.
    """
    from uls_data.certificates import certify
    from uls_data.ensemble.member import DEFAULT

    with Progress("masks", "masks") as bar:
        report = certify(
            list(manifests),
            out=out,
            manifest_out=manifest_out,
            members=members or DEFAULT,
            started=bar.begin,
            progress=lambda masks: bar.step(masks, masks),
            **options,
        )
    certificate = report.certificate
    if as_json:
        for group in certificate.evidence.groups:
            json_line({"kind": "calibration", **group.model_dump()})
        for row in report.marks.coverage:
            json_line({"kind": "coverage", **row})
        for text in report.marks.warnings:
            json_line({"kind": "warning", "text": text})
        json_line(
            {"kind": "certificate", "sentence": certificate.sentence, "sha256": certificate.sha256}
        )
    else:
        prose(certificate.sentence)
        if certificate.evidence.left_out_seen:
            click.echo(
                f"{certificate.evidence.left_out_seen} calibration masks are left out: their "
                "teacher was trained on the lesion."
            )
        click.echo("\nOn the calibration patients that tested it:")
        table(
            [
                [g.by, g.name, g.patients, g.masks, g.kept, g.failed, f"{g.risk_at_most:.3f}"]
                for g in certificate.evidence.groups
            ],
            ("by", "name", "patients", "masks", "kept", "under the Dice", "risk at most"),
        )
        click.echo()
        print_marks(report.marks)
        click.echo(f"Written: {', '.join(str(path) for path in (out, manifest_out) if path)}")
        kept = "--out kept.parquet"
        next_step(
            f"uls-data filter --manifest {quoted(manifests[0])} {kept} --certificate {quoted(out)}"
        )
    failures(report.failed)
    return 1 if report.failed else 0


def print_marks(marks: Marks) -> None:
    """Print which masks are kept by type and size, and why the promise may not hold."""
    table(
        [
            [row["by"], row["name"], row["masks"], row["kept"], f"{row['kept'] / row['masks']:.1%}"]
            for row in marks.coverage
        ],
        ("by", "name", "masks", "kept", "share"),
    )
    for text in marks.warnings:
        click.echo(f"Warning: {text}", err=True)
