"""In which order rows are shown: by a column, its smallest or its largest values first."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from uls_data.errors import ManifestError, did_you_mean
from uls_data.manifest.schema import arrow_schema

_DOWN = "-"


def sorting(text: str) -> tuple[str, bool]:
    """Column to sort by, and whether its largest values come first: `-uncertainty`.

    Raises
    ------
    ManifestError
        There is no such column, or it holds lists.
    """
    column = text.removeprefix(_DOWN)
    schema = arrow_schema()
    if column not in schema.names or pa.types.is_nested(schema.field(column).type):
        raise ManifestError(f"{column}: no column to sort by.{did_you_mean(column, schema.names)}")
    return column, text.startswith(_DOWN)


def order(values: pa.Array | pa.ChunkedArray, largest_first: bool = False) -> list[int]:
    """Places of values in their order, null last; ties as they stand."""
    direction = "descending" if largest_first else "ascending"
    found: list[int] = pc.sort_indices(
        pa.table({"value": values}), [("value", direction)]
    ).to_pylist()
    return found
