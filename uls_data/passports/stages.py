"""Rows of manifests as a stage of a passport."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from uls_data.io import sha256_file
from uls_data.manifest.choice import CORRECTED
from uls_data.manifest.parquet import iterate_tables
from uls_data.passports.document import COLUMNS, HASHES, File, Release, Stage, schema
from uls_data.passports.keys import hash_bytes

_READ = (*COLUMNS, "status", "detail")
_SORTED_BY = ("role", "source", "case_id", "lesion_index", "sample_index", "layer")
_RECORD = "release.json"
_MOST_BYTES = 1 << 26
Role = Callable[[pa.Table], Sequence[str | None]]


def manifest_file(path: Path) -> File:
    """Say what a passport tells of a manifest: its hash, and the release that it lies in."""
    return File(name=path.name[:4096], sha256=sha256_file(path), release=_release_of(path))


def _release_of(manifest: Path) -> Release | None:
    """Release that holds a manifest, as `release.json` beside or above it states."""
    for folder in (manifest.parent, manifest.parent.parent):
        path = folder / _RECORD
        try:
            if path.is_file() and path.stat().st_size <= _MOST_BYTES:
                said = json.loads(path.read_bytes())
                return Release(version=said["version"], sha256=said["release_sha256"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError):
            continue
    return None


def stage_of(files: Sequence[Path], role: Role, **about: Any) -> tuple[Stage, pa.Table]:
    """Stage of a passport, and its rows in canonical order.

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
    corrections: set[str] = set()
    for file in files:
        for table in iterate_tables(file, _READ):
            roles = pa.array(role(table), pa.string())
            here = roles.is_valid()
            if not pc.any(here).as_py():
                continue
            rows, roles = table.filter(here), roles.filter(here)
            tables.append(_rows(rows, roles))
            fixed = rows.filter(pc.fill_null(pc.equal(rows["layer"], CORRECTED), False))
            for detail in fixed["detail"].to_pylist():
                corrections.update(line[:4096] for line in (detail or "").splitlines())
    found = sorted_rows(pa.concat_tables([schema().empty_table(), *tables]))
    stage = Stage(
        rows=dict(sorted(Counter(found["role"].to_pylist()).items())),
        files=tuple(
            sorted((manifest_file(file) for file in files), key=lambda one: (one.sha256, one.name))
        ),
        corrections=tuple(sorted(corrections)),
        **about,
    )
    return stage, found


def sorted_rows(table: pa.Table) -> pa.Table:
    """Rows of one stage in the order of a passport."""
    return table.sort_by([(name, "ascending") for name in _SORTED_BY])


def numbered(table: pa.Table, stage: int) -> Iterator[pa.Table]:
    """Rows of a stage under its number."""
    yield table.set_column(0, "stage", pa.array([stage] * len(table), pa.int16()))


def _rows(table: pa.Table, roles: pa.Array) -> pa.Table:
    columns: list[Any] = [pa.array([0] * len(table), pa.int16()), roles]
    for name in COLUMNS:
        column = table[name]
        columns.append(
            hash_bytes(column) if name in HASHES else column.cast(schema().field(name).type)
        )
    return pa.table(columns, schema=schema())
