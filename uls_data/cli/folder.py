"""Folders that nobody has built, for commands that look at manifests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from uls_data.cli.output import SHOWN_FAILURES, failures, json_line, prose
from uls_data.cli.progress_bar import Progress
from uls_data.errors import ManifestError, SourceError

if TYPE_CHECKING:
    from uls_data.factory.folder_view import FolderView

F = TypeVar("F", bound=Callable[..., Any])
_NAMES = ("values", "limit", "cache", "workers")


def folder_options(function: F) -> F:
    """Add the options that say how a folder without a manifest is read."""
    for option in reversed(
        (
            click.option(
                "--values",
                metavar="N,N",
                help="For a folder without a manifest: mask values that are lesions.",
            ),
            click.option(
                "--limit",
                type=click.IntRange(min=1),
                metavar="N",
                help="For a folder without a manifest: only the first N cases.",
            ),
            click.option(
                "--cache",
                type=click.Path(path_type=Path, file_okay=False),
                metavar="DIR",
                help="Where VOIs of such folders are kept.  [default: $ULS_DATA_CACHE, else "
                "~/.cache/uls-data]",
            ),
            click.option(
                "--workers",
                type=click.IntRange(min=0),
                default=1,
                show_default=True,
                help="Processes that cut these VOIs.",
            ),
        )
    ):
        function = option(function)
    return function


def view_of(out: Path, options: dict[str, Any], as_json: bool) -> FolderView | None:
    """VOIs of a folder without a manifest, told on standard error; None where there is one.

    Parameters
    ----------
    options : dict
        Those of `folder_options`, which are taken out of it.
    """
    values, limit, cache, workers = (options.pop(name) for name in _NAMES)
    if not _is_raw(out):
        for name, value in (("values", values), ("limit", limit), ("cache", cache)):
            if value is not None:
                raise click.UsageError(f"--{name} is for folders without a manifest")
        return None
    try:
        numbers = [int(text) for text in (values or "").split(",") if text.strip()]
    except ValueError as error:
        raise click.UsageError(f"--values {values}: expected whole numbers, such as 1,2") from error
    from uls_data.factory.folder_view import view_folder

    click.echo(f"{out} has no manifest: it is read as raw data, and stays as it is.", err=True)
    with Progress("lesions") as bar:
        view = view_folder(
            out,
            values=numbers,
            limit=limit,
            cache=cache,
            workers=workers,
            started=bar.begin,
            progress=lambda _case, rows: bar.step(1, sum(row["status"] == "ok" for row in rows)),
        )
    if as_json:
        json_line(
            {
                "kind": "folder",
                "source": view.source,
                "seen": view.seen,
                "assumed": view.assumed,
                "recipe": str(view.recipe),
                "vois": str(view.out),
            }
        )
    else:
        _tell(view)
    failures(view.built.failures(SHOWN_FAILURES), "case_id", view.built.failed)
    if not view.built.ok:
        raise SourceError(f"{out}: no lesion can be shown: all {view.built.cases} cases are above")
    return view


def _is_raw(out: Path) -> bool:
    """Whether it is a folder, or a list of one, that neither is nor was to become a build."""
    from uls_data.manifest.parquet import manifest_files

    if out.is_file():
        return out.suffix.lower() == ".json"
    try:
        manifest_files(out)
    except ManifestError:
        return out.is_dir() and not (out / ".uls-data").exists()
    return False


def _tell(view: FolderView) -> None:
    for line in view.seen:
        click.echo(f"  {line}", err=True)
    click.echo("Assumed (--values, or a recipe, can say otherwise):", err=True)
    for line in view.assumed:
        prose(line, "    ", "  - ", err=True)
    click.echo(
        f"{view.built.ok} VOIs, {view.built.skipped} skipped and {view.built.failed} failed rows; "
        f"kept in {view.out} ({view.size_bytes / 1e6:.0f} MB) for the next time.",
        err=True,
    )
