"""`uls-data filter`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from uls_data.cli.model_options import certificate_option
from uls_data.cli.output import json_line, json_option, next_step, quoted, table


@click.command(
    epilog="""\b
Examples:
  uls-data filter --manifest out --out kept/manifest/round1.parquet
  uls-data filter --manifest m.parquet --out kept.parquet --max-axis-error-vox 5
  uls-data filter --manifest m.parquet --out kept.parquet \\
      --rule 'predicted_dice >= 0.8 and not flagged("cut_by_voi")'
  uls-data filter --manifest loop --out kept.parquet --certificate cert.json --beside weak
"""
)
@click.option(
    "--manifest",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="M",
    help="Manifest, or OUT folder of a build.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), metavar="M2", help="Manifest to write."
)
@click.option(
    "--max-axis-error-vox",
    type=float,
    help="Bound of the paper's rule in pixels; selects that rule if --rule is not given.  "
    "[default: 5]",
)
@click.option(
    "--rule",
    metavar="paper|combined|EXPRESSION",
    help="Default: combined. EXPRESSION is a condition over columns, as for `query`.",
)
@certificate_option
@click.option("--layer", help="Layer for the certificate to judge, if there are several.")
@click.option(
    "--beside",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="M3",
    help="Images and further layers of the VOIs, for a certificate; may be repeated.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Processes that measure for a certificate.",
)
@json_option
def command(manifest: Path, out: Path, as_json: bool, **options: Any) -> int:
    """Keep the pseudo-masks that satisfy a rule.

    The rule `paper` keeps masks whose long and short axis, measured on the key slice, are each
    within 5 pixels of the reader's. The rule `combined` also looks at the error for the lesion's
    size, predicted Dice and disagreement, where the manifest has them. It wants one component that
    holds the click, no contact with the border of the VOI, and a plausible extent along z.

    M2 has every row of M; rows that break the rule are skipped with reason `filtered` and the
    broken clauses. Rows with full masks are not judged. The table shows, for each clause, how many
    masks break it, break only it, and are removed by it after the clauses above.

    With a certificate (`certify`), the masks that meet it are kept, and the command says why its
    promise may not hold for them.
    """
    from uls_data.filtering import filter as filter_manifest

    report = filter_manifest(manifest, out, **options)
    counts: dict[str, Any] = {
        name: getattr(report, name) for name in ("rows", "kept", "removed", "full", "not_ok")
    }
    for text in report.warnings:
        click.echo(f"Warning: {text}", err=True)
    if as_json:
        for clause in report.clauses:
            json_line({"kind": "clause", **clause})
        json_line({"kind": "report", **counts})
        return 0
    judged = report.kept + report.removed
    table(
        [
            [c["name"], c["alone"], c["only"], c["in_sequence"], c["expression"]]
            for c in report.clauses
        ],
        ("clause", "removes alone", "only it", "in sequence", "expression"),
    )
    share = f" ({report.kept / judged:.1%})" if judged else ""
    click.echo(
        f"\n{judged} pseudo-masks: {report.kept} kept{share}, {report.removed} removed. "
        f"{report.full} full masks not judged, {report.not_ok} rows were not ok before; "
        f"{report.rows} rows in all."
    )
    if report.removed:
        click.echo(
            "Where a removed mask's VOI has another layer, that counts instead (2D masks too), "
            "if a command is given both manifests."
        )
    click.echo(f"Written: {out}")
    new = quoted(out)
    both = new if _has_images(out) else f"BUILD {new}  (the images are in BUILD)"
    next_step(f"uls-data query {new} 'reason == \"filtered\"', or uls-data train --manifest {both}")
    return 0


def _has_images(manifest: Path) -> bool:
    """Whether a row names its image; masks predicted into a folder of their own do not."""
    from uls_data.manifest import load_manifest

    return bool(load_manifest(manifest, ["image_path"])["image_path"].notna().any())
