"""What is written down is true: generated parts are current, every command and recipe is told."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import click
import pytest
import yaml
from makers.commands import commands

import uls_data
from tools.citations import generated
from tools.collections import with_recipes
from tools.document import recipe_schema, row_module, with_columns
from tools.prose import everything
from tools.site import on_page_markdown
from uls_data.errors import UlsDataError
from uls_data.outcome import Flag, Reason
from uls_data.recipe import load_recipe, recipe_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"
PAGES = {
    path.relative_to(DOCS).as_posix(): path.read_text(encoding="utf-8")
    for path in DOCS.rglob("*.md")
}
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ALL = "\n".join([README, CONTRIBUTING, *PAGES.values()])


def test_generated_parts_are_current() -> None:
    schema = ROOT / "manifests" / "schema" / "recipe.schema.json"
    assert schema.read_text(encoding="utf-8") == recipe_schema(), "run `make schema`"
    page = PAGES["data-model.md"]
    assert with_columns(page) == page, "run `make schema`"
    page = PAGES["collections.md"]
    assert with_recipes(page) == page, "run `make schema`"
    for path, text in generated():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `make schema`"
    module = ROOT / "uls_data" / "manifest" / "row.py"
    assert module.read_text(encoding="utf-8") == row_module(), "run `make schema`"


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda value: str(value)[:20])
def test_every_command_is_documented_with_an_example(name: str, command: click.Command) -> None:
    assert command.help
    assert f"uls-data {name}" in (command.epilog or "")
    assert all(
        parameter.help for parameter in command.params if isinstance(parameter, click.Option)
    )
    assert name.split()[0] in README


def test_commands_in_pages_and_examples_parse() -> None:
    """Every `uls-data` line of the pages and of `--help` is one that the command takes."""
    known = dict(commands())
    helps = "\n".join(command.epilog or "" for command in known.values()).replace("\\\n", " ")
    lines = re.findall(r"^(?:\$ )?uls-data (.*)$", ALL, flags=re.MULTILINE)
    assert len(lines) > 100
    lines += re.findall(r"^(?: *|Example: )uls-data (.*)$", helps, flags=re.MULTILINE)
    mentioned = re.findall(r"`uls-data ([^-`][^`]*)`", ALL)
    assert len(mentioned) > 30
    for line in lines + mentioned:
        words = shlex.split(line, comments=True)
        for end in (">", "|"):
            words = words[: words.index(end)] if end in words else words
        name = words[0] if words[0] in known else " ".join(words[:2])
        options = {option for parameter in known[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, line
        if line in mentioned:  # perhaps without what the command needs
            continue
        try:
            known[name].make_context(name, words[len(name.split()) :])
        except (click.BadParameter, UlsDataError) as error:
            absent = r"does not exist|no such folder|nor a file"  # the data of the example
            assert re.search(absent, str(error)), f"{line}: {error}"


def test_what_pages_name_is_in_the_repository() -> None:
    """Modules to run, targets of make, paths, and names of the package."""
    modules = re.findall(r"-m ((?:tools|demo|benchmarks|makers)[\w.]*)", ALL)
    targets = re.findall(r"(?:^|`)make ([a-z][a-z-]*)", ALL, flags=re.MULTILINE)
    paths = re.findall(
        r"[` (]((?:benchmarks|demo|docker|docs|manifests|tests|tools)/[\w./-]*\w)", ALL
    )
    names = re.findall(r"`uls_data\.([\w.]+)", ALL)
    assert min(map(len, (modules, targets, paths, names))) > 5
    for module in modules:
        assert find_spec(module), module
    known = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
    assert set(targets) <= {*known}
    for path in paths:
        if not re.search(r"NAME|vois/", path):
            assert (ROOT / path).exists(), path
    for name in names:
        resolve_name(f"uls_data.{name}")


@pytest.mark.parametrize("name", recipe_names())
def test_every_source_has_its_page_and_its_references(name: str) -> None:
    folder = load_recipe(name).path.parent
    assert "\n## Licence\n" in (folder / "README.md").read_text(encoding="utf-8")
    references = (folder / "CITATION.bib").read_text(encoding="utf-8")
    entries = re.split(r"^(?=@)", references, flags=re.MULTILINE)[1:]
    assert entries
    for entry in entries:
        assert re.match(r"@\w+\{\w+,\n", entry)
        assert entry.count("{") == entry.count("}")
        assert re.search(r"^ +title +=", entry, flags=re.MULTILINE)
        assert re.search(r"^ +(doi|eprint|url|year|note) +=", entry, flags=re.MULTILINE)


def test_links_lead_somewhere() -> None:
    for page, text in [(ROOT / "README.md", README)] + [
        (DOCS / name, text) for name, text in PAGES.items()
    ]:
        for target in re.findall(r"\]\(([^)#]+)", text):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_troubleshooting_names_real_messages() -> None:
    known = {str(value) for value in (*Reason, *Flag)}
    package = ROOT / "uls_data"
    source = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    source = re.sub(r'"\s*f?"', "", source)
    table = re.findall(r"^\| (.*?) \|", PAGES["troubleshooting.md"], flags=re.MULTILINE)[2:]
    assert len(table) > 10
    for cell in table:
        for words in re.findall(r"`([^`]+)`", cell):
            assert words in known or words in source, words


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    sections = [page for section in nav for page in section.values()]
    listed = [page for pages in sections for page in ([pages] if pages == "index.md" else pages)]
    assert sorted(listed) == sorted(PAGES)


def test_the_site_describes_every_public_name() -> None:
    named = re.findall(r"^::: uls_data\.(\w+)$", PAGES["reference/python.md"], flags=re.MULTILINE)
    assert sorted([*named, "__version__"]) == sorted(uls_data.__all__)


def test_the_page_of_commands_holds_every_help() -> None:
    page = on_page_markdown(PAGES["reference/commands.md"])
    for name, command in commands():
        assert f" uls-data {name}\n" in page
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.opts[-1] in page


def test_no_phrase_that_the_prose_linter_knows_a_better_one_for() -> None:
    """A line that needs it says `prose: ignore`."""
    if not (ROOT / ".git").exists():
        pytest.skip("files are listed by git")
    assert list(everything()) == []
