"""Options of commands that derive lines from full masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from uls_data.cli.output import workers_option

F = TypeVar("F", bound=Callable[..., Any])


def _scans(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> Any:
    if not given:
        return None
    raw = {}
    for text in given:
        recipe, found, folder = text.partition("=")
        if not (recipe and found and folder):
            raise click.BadParameter(f"{text}: expected RECIPE=DIR, such as kits21=/data/kits21")
        raw[recipe] = folder
    from uls_data.provenance.raw_scans import RawScans

    return RawScans(raw)


_OPTIONS = (
    click.option(
        "--slices",
        type=click.Choice(["longest", "all"]),
        default="longest",
        show_default=True,
        help="The slice of the long axis, or every slice of 25 lesion pixels or more.",
    ),
    click.option("--draws", default=3, show_default=True, help="Noisy repetitions of each slice."),
    click.option("--seed", default=0, show_default=True, help="Random seed for the noise."),
    click.option(
        "--raw",
        "scans",
        multiple=True,
        metavar="RECIPE=DIR",
        callback=_scans,
        help="Raw data of a source, by the name or file of its recipe: its lesions are measured on "
        "the slices of their scans, which a VOI may cut. May be repeated.",
    ),
    workers_option,
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="A running dask scheduler to use instead of local workers.",
    ),
)


def trial_options(function: F) -> F:
    """Add what decides on lines and on where they are tried."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
