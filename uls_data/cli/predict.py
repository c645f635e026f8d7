"""`uls-data predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uls_data.cli.model_options import (
    batch_size_option,
    device_option,
    image_vote_option,
    jitter_option,
    key_slice_option,
    precision_option,
    threads_option,
    tta_option,
)
from uls_data.cli.output import failures, json_line, json_option, next_step, quoted, table
from uls_data.cli.progress_bar import Progress
from uls_data.errors import ManifestError, UlsDataError
from uls_data.outcome import Reason

if TYPE_CHECKING:
    from uls_data.network.prediction_report import PredictReport


@click.command(
    "predict",
    epilog="""\b
Examples:
  uls-data predict --manifest vois --model model --out pseudo
  uls-data predict --manifest vois --model model --out pseudo --tta --jitter 3 --dry-run
  uls-data predict --manifest vois --model fold_0 --model fold_1 --out pseudo
  uls-data predict --stack images/stacked-3d-ct-lesion-volumes/a.mha --model model --out answer
""",
)
@click.option(
    "--manifest",
    "manifests",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="M...",
    help="Manifests, or OUT folders of builds.",
)
@click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[M...]")
@click.option(
    "--model",
    "models",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="Model folder or checkpoint, ours or nnU-Net v2's; several are averaged.",
)
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="OUT folder for the masks."
)
@click.option(
    "--stack",
    type=click.Path(path_type=Path),
    help="Instead of manifests: a stack of the challenge (.mha); the mask is a stack too.",
)
@click.option(
    "--spacings",
    type=click.Path(path_type=Path),
    help="With --stack: the JSON file of its spacings.",
)
@click.option("--layer", help="Name of the new layer.  [default: pseudo3d-r1]")
@click.option(
    "--parent",
    "parents",
    multiple=True,
    help="Layer whose rows the new ones continue; may be repeated. Default: the best.",
)
@tta_option
@jitter_option
@key_slice_option
@image_vote_option
@device_option
@precision_option
@batch_size_option
@click.option("--compile", "compiled", is_flag=True, help="Compile the network first (torch).")
@click.option("--seed", type=int, help="Random seed for --jitter.  [default: 0]")
@threads_option
@click.option("--dry-run", is_flag=True, help="Count what would be predicted; write nothing.")
@json_option
def command(
    manifests: tuple[Path, ...],
    more: tuple[Path, ...],
    models: tuple[Path, ...],
    out: Path,
    stack: Path | None,
    spacings: Path | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Predict the clicked lesion of every VOI, as a layer of 3D pseudo-masks.

    The mask is the component at the VOI's centre, else the nearest within 5 mm. Rows hold what
    `filter` uses: errors of both axes and Dice on the key slice, expected Dice and entropy. Run
    the same command again to continue an interrupted run.
    """
    try:
        from uls_data.network.prediction import predict
        from uls_data.network.stack_prediction import predict_stack
    except ModuleNotFoundError as error:
        raise UlsDataError(
            f"prediction needs {error.name}: pip install 'uls-data[network]'"
        ) from error
    bar = Progress("VOIs", "VOIs")
    told: dict[str, Any] = {
        "started": bar.begin,
        "progress": lambda count: bar.step(count, count),
        "warned": lambda words: click.echo(words, err=True),
    }
    sources = [*manifests, *more]
    dry_run = options.pop("dry_run")
    options = {name: value for name, value in options.items() if value not in (None, ())}
    with bar:
        if stack is not None:
            wrong = {
                "layer",
                "parents",
                "jitter",
                "seed",
                "key_slice",
                "image_vote",
            } & options.keys()
            if sources or wrong or dry_run:
                raise ManifestError(
                    "--stack stands alone: leave out manifests, --layer, --parent, --jitter, "
                    "--key-slice, --image-vote, --seed, --dry-run"
                )
            target = predict_stack(stack, models, out, spacings=spacings, **options, **told)
        elif spacings is not None:
            raise ManifestError("--spacings belongs to --stack")
        elif not sources:
            raise ManifestError("nothing to predict: give --manifest M... or --stack FILE")
        else:
            report = predict(sources, models, out, dry_run=dry_run, **options, **told)
    if stack is not None:
        json_line({"mask": str(target)}) if as_json else click.echo(f"Mask: {target}")
        return 0
    return _print_plan(report, as_json) if dry_run else _finish(report, as_json)


def _print_plan(report: PredictReport, as_json: bool) -> int:
    if as_json:
        names = ("vois", "resumed", "device", "precision")
        json_line({name: getattr(report, name) for name in names})
        return 0
    for note in report.notes:
        click.echo(note, err=True)
    click.echo(
        f"{report.vois} VOIs, {report.resumed} done before; the rest on {report.device} in "
        f"{report.precision}, to {report.manifest}"
    )
    click.echo("Nothing was touched.", err=True)
    return 0


def _finish(report: PredictReport, as_json: bool) -> int:
    counts = report.counts
    if as_json:
        json_line(
            {
                "manifest": str(report.manifest),
                **{status: counts[status] for status in ("ok", "skipped", "failed")},
                "resumed": report.resumed,
                "device": report.device,
                "precision": report.precision,
                "in_flight": report.in_flight,
            }
        )
    else:
        for note in report.notes:
            click.echo(note, err=True)
        empty = sum(row.get("reason") == Reason.EMPTY_PREDICTION for row in report.rows)
        numbers = {"masks": counts["ok"], "without a lesion": empty, "failed": counts["failed"]}
        if others := counts["skipped"] - empty:
            numbers["without lines or spacing"] = others  # which the model needs
        table([numbers.values()], numbers)
        if any(row["status"] == "ok" and row["image_path"] is None for row in report.rows):
            click.echo(
                "The images stay where they are: give `train`, `evaluate` and `report` both "
                "manifests. `triage` needs masks and images in one folder: predict with the "
                "build's own folder as --out.",
                err=True,
            )
        click.echo(f"\nDone on {report.device} in {report.precision}. Manifest: {report.manifest}")
        next_step(f"uls-data filter --manifest {quoted(report.manifest)} --out KEPT.parquet")
    failed = [row for row in report.rows if row["status"] == "failed"]
    failures(failed)
    return 1 if failed else 0
