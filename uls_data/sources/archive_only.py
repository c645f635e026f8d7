"""Sources whose raw data this version cannot read; their recipes serve the published archive."""

from __future__ import annotations

from typing import NoReturn

from uls_data.errors import SourceError
from uls_data.recipe.reader import ArchiveOnly
from uls_data.sources.format import Search


def find(search: Search, reader: ArchiveOnly) -> NoReturn:
    """Say why there is nothing to build.

    Raises
    ------
    SourceError
        Always.
    """
    raise SourceError(
        f"{search.recipe.source}: this version cannot build it from raw data. {reader.why}"
    )


def open_case(_opening: object, reader: ArchiveOnly) -> NoReturn:
    """Say why there is nothing to open; see `find`."""
    raise SourceError(f"this version cannot build it from raw data. {reader.why}")
