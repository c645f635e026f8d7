"""The prose linter finds what it is for, across line breaks too, and nothing in plain sentences."""

from __future__ import annotations

import pytest

from tools.prose import RULES, findings, helps, long_sentences
from uls_data.cli import cli


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The files are written anew.", "anew"),
        ("# where this is no\n# name of a VOI", "is no # name"),
        ('    f"it is no "\n    f"mask"', 'is no " f"mask'),
        ("The draw hangs on the seed.", "hangs on"),
        ("It takes 22 ms a VOI.", "ms a VOI"),
        ("Mend that", "Mend"),
    ],
)
def test_found(text: str, words: str) -> None:
    ((line, found, advice),) = findings(text)
    assert (line, found) == (1, words)
    assert advice in RULES.values()


@pytest.mark.parametrize(
    "text",
    [
        "There is no mask, and it is no longer read.",
        "It is no larger than a recommendation.",
        "The run goes on  # prose: ignore: goes on with",
        "Whatever is given is kept.",
    ],
)
def test_not_found(text: str) -> None:
    assert list(findings(text)) == []


def test_long_sentences() -> None:
    words = " ".join(["word"] * 12)
    code = f"```sh\n{words}\n```"
    page = f"# {words}\n\n{words}. Short.\n\n{code}\n\n| {words} |\n\n- {words}\n  more: less."
    assert [count for count, _ in long_sentences(page, most=11)] == [12, 13]
    assert list(long_sentences(page, most=13)) == []


def test_every_command_is_looked_at() -> None:
    names = {name for name, _ in helps(cli, "uls-data")}
    assert {"uls-data", "uls-data build seed", "uls-data release verify"} <= names
