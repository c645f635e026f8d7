"""`uls-data train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from uls_data.cli.model_options import device_option, precision_option, threads_option
from uls_data.cli.output import failures, json_line, json_option, next_step, quoted, table
from uls_data.cli.progress_bar import Progress
from uls_data.errors import UlsDataError

if TYPE_CHECKING:
    from uls_data.network.training_report import TrainReport


@click.command(
    "train",
    epilog="""\b
Examples:
  uls-data train --manifest vois --out model --plan small
  uls-data train --manifest weak vois/manifest/ccc18.parquet --out pretrained
  uls-data train --manifest vois --init pretrained --out model --dry-run
""",
)
@click.option(
    "--manifest",
    "manifests",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    metavar="M...",
    help="Manifests, or OUT folders of builds.",
)
@click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[M...]")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The model's folder.")
@click.option(
    "--plan", help="baseline, small, prompted or a file. Default: baseline, or that of --init."
)
@click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="Model folder or checkpoint, ours or nnU-Net v2's, to fine-tune.",
)
@device_option
@click.option(
    "--include-heldout",
    is_flag=True,
    help="Train on held-out patients too (the paper's final training); the checkpoint says so.",
)
@click.option(
    "--layer", "layers", multiple=True, help="Masks to take; may be repeated. Default: the best."
)
@click.option(
    "--weak",
    type=click.Choice(["ignore", "background"]),
    default="ignore",
    show_default=True,
    help="How voxels that nobody annotated count: unknown, or background (as published). These "
    "are other slices of 2D masks, and voxels far from a lesion if a source annotates only target "
    "lesions.",
)
@click.option(
    "--epochs", type=click.IntRange(min=1), help="Number of epochs, instead of the plan's."
)
@click.option("--steps", type=click.IntRange(min=1), help="Number of steps, instead of epochs.")
@click.option(
    "--seed", default=0, show_default=True, help="Random seed for weights, order and augmentation."
)
@precision_option
@threads_option
@click.option("--dry-run", is_flag=True, help="Say what would be trained; write nothing.")
@json_option
def command(
    manifests: tuple[Path, ...], more: tuple[Path, ...], out: Path, as_json: bool, **options: Any
) -> int:
    """Train a network on the VOIs of manifests.

    Held-out patients are scored, never trained on, in whichever source they occur. Run the
    same command again to continue from the last checkpoint. The folder is an nnU-Net v2 model
    folder, with the training curves beside it.
    """
    try:
        from uls_data.network.training import train
    except ModuleNotFoundError as error:
        raise UlsDataError(
            f"training needs {error.name}: pip install 'uls-data[network]'"
        ) from error
    with Progress("steps", "steps") as bar:
        report = train(
            [*manifests, *more],
            out,
            started=bar.begin,
            progress=lambda count, _loss: bar.step(count, count),
            **options,
        )
    if options["dry_run"]:
        _print_plan(report, options["device"], as_json)
        return 0
    if as_json:
        for row in report.validation:
            json_line(row)
    else:
        _print(report)
    failures(report.failed)
    return 1 if report.failed else 0


def _print_plan(report: TrainReport, device: str, as_json: bool) -> None:
    from uls_data.network.architecture import cost
    from uls_data.network.device import usable_device

    weights, operations = cost(report.plan)
    if as_json:
        names = ("steps", "done", "trained", "heldout", "types", "left_out")
        told = {name: getattr(report, name) for name in names}
        json_line({"plan": report.plan.name, "weights": weights, **told})
        return
    batch = report.plan.training.batch_size
    click.echo(
        f"{report.plan.name}: {report.steps} steps of {batch} VOIs on {usable_device(device)}, "
        f"{report.done} done before"
    )
    # Backwards a network does about twice the work of forwards.
    work = 3 * operations * batch * (report.steps - report.done)
    click.echo(f"  {weights / 1e6:.1f} million weights; about {work / 1e15:,.1f} Pflop left to do")
    click.echo(f"  {report.trained} VOIs to train on, {report.heldout} held out")
    for name, count in report.types.items():
        click.echo(f"    {count} {name}")
    for reason, count in sorted(report.left_out.items()):
        click.echo(f"  left out: {count} {reason}")
    click.echo("Nothing was touched.", err=True)


def _print(report: TrainReport) -> None:
    click.echo(
        f"{report.plan.name}: {report.steps} steps on {report.trained} VOIs, "
        f"{report.heldout} held out"
    )
    for reason, count in sorted(report.left_out.items()):
        click.echo(f"  left out: {count} {reason}")
    if report.validation:
        click.echo("\nHeld-out Dice:")
        table(
            (
                [row["lesion_type"], row["lesions"], _score(row["dice"]), _score(row["std"])]
                for row in report.validation
            ),
            ["lesion type", "lesions", "dice", "std"],
        )
    click.echo(f"\nModel: {report.model}")
    next_step(f"uls-data predict --manifest M --model {quoted(report.model)} --out OUT")


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
