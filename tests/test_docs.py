"""What is written down is true: generated parts are current, every command and recipe is told."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from uls_data.cli import cli
from uls_data.manifest.document import readme_with_columns, recipe_schema
from uls_data.recipe import load_recipe, recipe_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", command.commands[sub]) for sub in command.commands]
        else:
            found.append((name, command))
    return found


def test_generated_parts_are_current() -> None:
    schema = ROOT / "manifests" / "schema" / "recipe.schema.json"
    assert schema.read_text(encoding="utf-8") == recipe_schema(), "run `make schema`"
    assert readme_with_columns(README) == README, "run `make schema`"


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: str(value)[:20])
def test_every_command_is_documented_with_an_example(name: str, command: click.Command) -> None:
    assert command.help
    assert f"uls-data {name}" in (command.epilog or "")
    assert all(
        parameter.help for parameter in command.params if isinstance(parameter, click.Option)
    )
    assert name.split()[0] in README


def test_commands_in_readme_parse() -> None:
    """Every `uls-data` line of README names a command and options that exist."""
    lines = re.findall(r"^uls-data (.*)$", README, flags=re.MULTILINE)
    assert len(lines) > 5
    known = dict(commands())
    for line in lines:
        words = shlex.split(line, comments=True)
        words = words[: words.index(">")] if ">" in words else words
        name = " ".join(words[:2]) if words[0] in ("recipe", "export") else words[0]
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_its_papers(name: str) -> None:
    folder = load_recipe(name).path.parent
    assert "icence" in (folder / "README.md").read_text(encoding="utf-8")
    assert "@" in (folder / "CITATION.bib").read_text(encoding="utf-8")
