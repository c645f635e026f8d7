"""What a format of raw archives supplies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from uls_data.recipe.model import Recipe
from uls_data.sources.case_files import CaseFiles
from uls_data.volumes.raw_root import RawRoot


@dataclass(frozen=True)
class Search:
    """What a format gets to find its cases.

    Attributes
    ----------
    recipe : Recipe
    raw : RawRoot
    need_images : bool
        Whether a case without an image is a problem.
    cache : Path or None
        File that remembers headers of DICOM files between calls.
    selected : set of Path
        Files that the recipe selects, entered when they are seen, before anything is decided
        about them: each must end in a case. Slices named by number are entered as their folder or
        archive.
    """

    recipe: Recipe
    raw: RawRoot
    need_images: bool = True
    cache: Path | None = None
    selected: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class Format:
    """Where the code of a format is; it is loaded when it is used.

    Attributes
    ----------
    find : str
        `folder.module:function` below `uls_data.sources`. Called with a `Search` and the recipe's
        reader, it returns the cases, a list of `CaseFiles`; SourceError: there is none.
    open : str
        Likewise; called with an `uls_data.sources.opening.Opening` and the reader, it returns what
        was `Opened`; CaseError: why the case cannot be read.
    measured : bool
        Lesions are lines, of which 2D methods make masks.
    """

    find: str
    open: str
    measured: bool = False

    def found(self, search: Search) -> list[CaseFiles]:
        """Cases below the raw root, in any order."""
        cases: list[CaseFiles] = _loaded(self.find)(search, search.recipe.reader)
        return cases

    def opener(self) -> Callable[..., Any]:
        """Return the function that opens a case."""
        return _loaded(self.open)


def _loaded(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    loaded: Callable[..., Any] = getattr(import_module(f"uls_data.sources.{module}"), function)
    return loaded
