"""A proposed recipe: its text, and what is said about it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from uls_data.sources.case_files import natural_key
from uls_data.sources.looking import LESION_WORDS

SHOWN = 30
_MOST_SHAPES = 20
_READER = re.compile(r"# Pairs of volumes:.*?(?=\n# Every 6-connected)", re.DOTALL)
_RULE = re.compile(r"(?m)^instances: .*$")
_DIGITS = re.compile(r"[0-9]+")


@dataclass
class Proposal:
    """A recipe, and what was seen.

    Attributes
    ----------
    text : str
        Of the recipe.
    seen : list of str
        Lines for people.
    unsure : list of str
        What the look could not tell, and what it took instead.
    """

    text: str
    seen: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)


def names_of_lesions(made: Proposal, names: Iterable[str], of: str) -> list[str]:
    """Names that sound like lesions; all where none does, which is said."""
    every = list(names)
    if chosen := [name for name in every if LESION_WORDS.search(name)]:
        return chosen
    made.unsure.append(
        f"no {of}'s name says lesion, tumour or the like: all are taken; keep those that are "
        "lesions"
    )
    return every


def fill(made: Proposal, reader: Iterable[str], rule: str) -> None:
    """Put the lines of a reader and the rule of its lesions into the text."""
    block = "\n".join(reader) + "\n"
    made.text = _READER.sub(lambda _: block, made.text, count=1)
    made.text = _RULE.sub(lambda _: rule, made.text, count=1)


def quoted(text: str) -> str:
    """Return a text as YAML quotes it."""
    return "'" + text.replace("'", "''") + "'"


def any_of(names: Sequence[str]) -> str:
    """Regular expression of some names."""
    return "|".join(re.escape(name).replace("\\ ", " ") for name in sorted(names))


def shape_of(made: Proposal, names: Collection[str], *, loose: bool = False) -> str:
    """Regular expression of names that differ in their numbers; else of each, or of any.

    Parameters
    ----------
    loose : bool
        Whether a few names give no rule for others.
    """
    shapes = {r"\d+".join(map(re.escape, _DIGITS.split(name))) for name in names}
    if len(shapes) == 1 or (len(shapes) <= _MOST_SHAPES and not loose):
        return "|".join(sorted(shapes, key=natural_key))
    if loose:
        return "[^/]+?"
    made.unsure.append("names of cases follow no one rule; `case` takes any folder")
    return "[^/]+"
