"""Rows of manifests as a stage of a passport."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from uls_data.io import sha256_file
from uls_data.manifest.choice import CORRECTED
from uls_data.manifest.parquet import iterate_tables
from uls_data.manifest.paths import above
from uls_data.passports.document import (
    COLUMNS,
    HASHES,
    MOST_GROUP_ROWS,
    File,
    Release,
    Stage,
    schema,
)
from uls_data.passports.keys import hash_bytes

_READ = (*COLUMNS, "status", "detail")
_SORTED_BY = ("role", "source", "case_id", "lesion_index", "sample_index", "layer")
# Columns that differ from row to row: dictionaries of them would be as large.
_UNLIKE = ("voi_id", *(name for name in HASHES if "source" not in name))
_ROWS_AT_A_TIME = 1 << 16
_RECORD = "release.json"
_MOST_BYTES = 1 << 26
Role = Callable[[pa.Table], Sequence[str | None]]


def manifest_file(path: Path) -> File:
    """Say what a passport tells of a manifest: its hash, and the release that it lies in."""
    return File(name=path.name[:4096], sha256=sha256_file(path), release=_release_of(path))


def _release_of(manifest: Path) -> Release | None:
    """Release that holds a manifest, as `release.json` beside or above it states."""
    for folder in (manifest.parent, above(manifest)):
        path = folder / _RECORD
        try:
            if path.is_file() and path.stat().st_size <= _MOST_BYTES:
                said = json.loads(path.read_bytes())
                return Release(version=said["version"], sha256=said["release_sha256"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
            continue
    return None


def stage_of(files: Sequence[Path], role: Role, **about: Any) -> tuple[Stage, StageRows]:
    """Stage of a passport, and its rows.

    Parameters
    ----------
    files : sequence of Path
        Manifests, read together.
    role : callable
        Gets a table of some of their rows; says what each was to the training, None: nothing.
    **about
        What else the stage's header says.
    """
    tables: list[pa.Table] = []
    counts: Counter[Any] = Counter()
    corrections: set[str] = set()
    for file in files:
        for table in iterate_tables(file, _READ, _ROWS_AT_A_TIME):
            roles = pa.array(role(table), pa.string())
            here = roles.is_valid()
            if not pc.any(here).as_py():
                continue
            rows, roles = table.filter(here), roles.filter(here)
            tables.append(_rows(rows, roles))
            counts.update(
                {word["values"]: word["counts"] for word in roles.value_counts().to_pylist()}
            )
            fixed = rows.filter(pc.fill_null(pc.equal(rows["layer"], CORRECTED), False))
            for detail in fixed["detail"].to_pylist():
                corrections.update(line[:4096] for line in (detail or "").splitlines())
    found = ordered(tables or [schema().empty_table()])
    stage = Stage(
        rows=dict(sorted(counts.items())),
        files=tuple(
            sorted((manifest_file(file) for file in files), key=lambda one: (one.sha256, one.name))
        ),
        corrections=tuple(sorted(corrections)),
        **about,
    )
    return stage, found


@dataclass(frozen=True)
class StageRows:
    """Rows of one stage, held in as little memory as they need.

    Attributes
    ----------
    table : Table
        Columns of a passport, most of them as dictionaries, in the order of the manifests.
    order : ndarray of int, shape (rows,), or None
        Numbers of the rows in the order of a passport; None where they are in it.
    """

    table: pa.Table
    order: NDArray[np.intp] | None

    def __len__(self) -> int:
        return len(self.table)

    def numbered(self, stage: int) -> Iterator[pa.Table]:
        """Rows under the number of their stage, as many at a time as a passport has in a group."""
        for start in range(0, len(self), MOST_GROUP_ROWS):
            some = slice(start, start + MOST_GROUP_ROWS)
            if self.order is None:
                part = self.table.slice(start, MOST_GROUP_ROWS)
            else:
                part = self.table.take(pa.array(self.order[some]))
            columns = [_decoded(part[name]) for name in schema().names[1:]]
            number = pa.array(np.full(len(part), stage, np.int16))
            yield pa.table([number, *columns], schema=schema())


def ordered(tables: list[pa.Table]) -> StageRows:
    """Rows of a stage, in any order; empties the list, for there may be millions."""
    table = pa.concat_tables(tables)
    tables.clear()
    columns = {}
    for name in table.column_names:
        column = table[name]
        table = table.drop_columns([name])
        if pa.types.is_string(column.type) and name not in _UNLIKE:
            column = column.dictionary_encode()
        columns[name] = column.unify_dictionaries().combine_chunks()
    held = pa.table(columns)
    return StageRows(held, _order(held))


def _decoded(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _order(table: pa.Table) -> NDArray[np.intp] | None:
    """Order of rows by their keys, nulls last; None where they are in it."""
    keys = [_ranks(table[name].combine_chunks()) for name in _SORTED_BY]
    equal = np.ones(max(0, len(table) - 1), bool)
    for key in keys:
        if (equal & (key[:-1] > key[1:])).any():
            return np.lexsort(keys[::-1])
        equal &= key[:-1] == key[1:]
    return None


def _ranks(array: pa.Array) -> NDArray[np.integer]:
    """Numbers in the order of the values."""
    if not pa.types.is_dictionary(array.type):
        most = np.iinfo(np.int64).max
        numbers: NDArray[np.integer] = pc.fill_null(array, most).to_numpy()
        return numbers
    words = array.dictionary
    rank = np.full(len(words) + 1, len(words), np.int32)
    rank[pc.array_sort_indices(words).to_numpy()] = np.arange(len(words))
    ranks: NDArray[np.integer] = rank[pc.fill_null(array.indices, len(words)).to_numpy()]
    return ranks


def _rows(table: pa.Table, roles: pa.Array) -> pa.Table:
    """Rows as a passport has them; what repeats from row to row as dictionaries."""
    columns: dict[str, Any] = {"stage": pa.array(np.zeros(len(table), np.int16)), "role": roles}
    for name in COLUMNS:
        column = table[name]
        columns[name] = (
            hash_bytes(column) if name in HASHES else column.cast(schema().field(name).type)
        )
    for name, column in columns.items():
        if name not in _UNLIKE and not pa.types.is_integer(column.type):
            columns[name] = column.dictionary_encode()
    return pa.table(columns)
