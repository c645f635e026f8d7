"""`uls-data passport`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click

from uls_data.cli.output import failures, json_line, json_option, next_step, quoted, shown, table
from uls_data.cli.progress_bar import Progress
from uls_data.errors import UlsDataError

if TYPE_CHECKING:
    from uls_data.passports import Passport

_SHORT = 16


@click.command(
    epilog="""\b
Examples:
  uls-data passport model
  uls-data passport model/fold_0/passport.parquet --json
  uls-data passport fold-0 fold-1 --out averaged.parquet
  uls-data passport --from nnUNet_raw/Dataset100_ULS --out theirs.parquet
"""
)
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL...]")
@click.option(
    "--from",
    "given",
    type=click.Path(path_type=Path),
    metavar="DATALIST|FOLDER|M",
    help="Make a passport from what trained a model: MONAI's datalist, nnU-Net's raw dataset, or "
    "a manifest.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="PASSPORT", help="Passport to write."
)
@click.option("--name", help="Name of the training, with --from.  [default: the name of the list]")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Worker processes, with --from.",
)
@json_option
def command(
    models: tuple[Path, ...],
    given: Path | None,
    out: Path | None,
    name: str | None,
    workers: int,
    as_json: bool,
) -> int:
    """Print what trained a model: lesions, series and patients, with hashes, stage by stage.

    MODEL is a model folder, a checkpoint or a passport. Several MODELs give the union of their
    passports, for models that are averaged. A model that was trained further has also seen what
    the model before it saw. --json prints the stages, then every row.

    `uls-data audit M --against MODEL` says which rows of a manifest a model has seen.

    Exit code 1: images that --from names could not be read.
    """
    if bool(models) == (given is not None):
        raise click.UsageError("give MODEL, or --from and --out")
    if given is not None:
        if out is None:
            raise click.UsageError("--from needs --out PASSPORT")
        return _make(given, out, name, workers, as_json)
    from uls_data.auditing.against import passport

    scratch: Any = TemporaryDirectory(prefix="uls-data-passport-") if out is None else nullcontext()
    with scratch as folder:
        try:
            found = passport(list(models), out=out or Path(folder) / "passport.parquet")
        except ModuleNotFoundError as error:
            raise UlsDataError(
                f"a model's passport needs {error.name}: pip install 'uls-data[network]', or give "
                "the passport.parquet beside the checkpoint"
            ) from error
        _print(found, as_json)
    if out is not None and not as_json:
        click.echo(f"Written: {out}")
    return 0


def _make(given: Path, out: Path, name: str | None, workers: int, as_json: bool) -> int:
    from uls_data.passports import passport_from

    with Progress("images", "images") as bar:
        found, unread = passport_from(
            given,
            out,
            name=name,
            workers=workers,
            started=bar.begin,
            progress=lambda count: bar.step(count, count),
        )
    _print(found, as_json)
    if not as_json:
        click.echo(f"Written: {out}")
        next_step(f"uls-data audit M --against {quoted(out)}")
    failures([{"voi_id": image, "reason": "unreadable", "detail": why} for image, why in unread])
    return 1 if unread else 0


def _print(found: Passport, as_json: bool) -> None:
    if as_json:
        stages = [stage.model_dump(mode="json") for stage in found.stages]
        json_line({"passport": found.sha256, "complete": found.complete, "stages": stages})
        for part in found.tables():
            for row in part.to_pylist():
                json_line(
                    {
                        key: value.hex() if isinstance(value, bytes) else value
                        for key, value in row.items()
                    }
                )
        return
    click.echo(f"Passport {found.sha256}")
    for number, stage in enumerate(found.stages):
        after = f", after stage {', '.join(map(str, stage.after))}" if stage.after else ""
        click.echo(shown(f"\nStage {number}: {stage.name} ({stage.kind}){after}"))
        if stage.kind == "unknown":
            click.echo(
                f"  checkpoint {(stage.init_sha256 or '')[:_SHORT]} has no passport: nobody can "
                "say what trained it"
            )
        if stage.kind == "train":
            held = "held-out patients too" if stage.include_heldout else "no held-out patients"
            click.echo(f"  {stage.steps} steps, seed {stage.seed}; {held}")
        for file in stage.files:
            release = f", release {file.release.version}" if file.release else ""
            click.echo(shown(f"  from {file.name} {file.sha256[:_SHORT]}{release}"))
        for line in stage.corrections:
            click.echo(shown(f"  correction: {line}"))
        for reason, count in stage.left_out.items():
            click.echo(shown(f"  left out: {count} {reason}"))
        if stage.unread:
            click.echo(f"  {stage.unread} images were not read: known by name alone")
    click.echo()
    table(
        _counts(found),
        ("stage", "role", "source", "rows", "lesions", "scans", "patients", "recipe", "models"),
    )
    if not found.complete:
        click.echo(
            "This passport is not complete: the model has seen more than it names.", err=True
        )


def _counts(found: Passport) -> list[list[Any]]:
    """Rows, lesions, scans and patients by stage, role and source."""
    from uls_data.passports.contents import contents

    return [
        [
            *(group.stage, group.role, group.source, group.rows, group.lesions, group.scans),
            group.patients,
            ", ".join(sha256[:_SHORT] for sha256 in group.recipes) or "-",
            ", ".join(sha256[:_SHORT] for sha256 in group.models) or "-",
        ]
        for group in contents(found)
    ]
