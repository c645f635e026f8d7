"""Hook of `mkdocs.yml`: the page of all commands gets each command's `--help`, as it is printed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from uls_data.cli import cli

MARK = "<!-- every command -->"


def on_page_markdown(markdown: str, **_event: Any) -> str:
    """Replace the mark in a page; mkdocs calls this for every page."""
    return markdown.replace(MARK, "\n".join(_sections(cli, None, "uls-data", 1)))


def _sections(
    command: click.Command, parent: click.Context | None, name: str, level: int
) -> Iterator[str]:
    context = click.Context(
        command, parent, info_name=name, terminal_width=96, **command.context_settings
    )
    if parent:
        yield f"{'#' * level} {context.command_path}\n\n```text\n{context.get_help()}\n```\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found:
                yield from _sections(found, context, below, level + 1)
