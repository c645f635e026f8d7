"""All commands of the command line, those of groups too, for the tests that go through them."""

from __future__ import annotations

from collections.abc import Iterator

import click

from uls_data.cli import cli


def commands(group: click.Group = cli, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Name, such as `release build`, and command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command
