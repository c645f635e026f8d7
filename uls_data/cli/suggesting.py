"""A group of commands that helps with mistyped ones."""

from __future__ import annotations

import click

from uls_data.errors import did_you_mean


class Suggesting(click.Group):
    """A group that names the nearest commands where there is none of a name."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            hint = did_you_mean(args[0], self.list_commands(ctx), 2)
            raise click.UsageError(error.message + hint, ctx) from None
