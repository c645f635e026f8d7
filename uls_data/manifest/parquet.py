"""Rows to Parquet and back, under one explicit schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from uls_data.errors import ManifestError, did_you_mean
from uls_data.io import atomic_write
from uls_data.manifest.arrays import arrow_array
from uls_data.manifest.row import Row
from uls_data.manifest.schema import VERSION_KEY, arrow_schema, columns_since, document
from uls_data.resources import shipped

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = "uls23"
_ROWS_PER_GROUP = 1 << 13
# With checksums a flipped bit is an error, not another value.
_WRITTEN = {"compression": "zstd", "write_page_index": True, "write_page_checksum": True}


def row_key(row: Row) -> tuple[Any, ...]:
    """Sort key of a row: the manifest's key, nulls first."""
    return (
        row["source"],
        row["case_id"],
        -1 if row["lesion_index"] is None else row["lesion_index"],
        -1 if row["sample_index"] is None else row["sample_index"],
        row["layer"] or "",
    )


def write_manifest(rows: Iterable[Row], path: Path) -> int:
    """Write rows, in any order, as one Parquet file; see `stream_manifest`."""
    return stream_manifest(sorted(rows, key=row_key), path)


def stream_manifest(rows: Iterable[Row], path: Path) -> int:
    """Write rows that come in the order of their keys; returns how many there were.

    Only one row group is in memory at a time.

    Parameters
    ----------
    rows : iterable of dict
        Columns that a row lacks are null.

    Raises
    ------
    ManifestError
        A row has an unknown column or a value of the wrong type, rows are out of
        order, or two rows have one key.
    """
    schema = arrow_schema()
    lists = [field.name for field in schema if pa.types.is_nested(field.type)]
    names = set(schema.names)
    before: tuple[Any, ...] | None = None
    count = 0
    waiting = iter(rows)
    with (
        atomic_write(path) as temporary,
        pq.ParquetWriter(temporary, schema, **_WRITTEN) as writer,
    ):
        while True:
            group = list(islice(waiting, _ROWS_PER_GROUP))
            for row in group:
                key = row_key(row)
                if before is not None and key <= before:
                    what = "two rows have the key" if key == before else "rows out of order at"
                    raise ManifestError(f"{path}: {what} {key}")
                before = key
                if not names.issuperset(row):
                    raise ManifestError(f"{path}: unknown column {sorted(row.keys() - names)[0]!r}")
                for name in lists:
                    if not isinstance(row.get(name), list | None):
                        raise ManifestError(f"{path}: {name} of {key} is not a list")
            if not group and count:
                return count
            try:
                columns = [[row.get(name) for row in group] for name in schema.names]
                arrays = [arrow_array(c, t) for c, t in zip(columns, schema.types, strict=True)]
                table = pa.Table.from_arrays(arrays, schema=schema)
            except (TypeError, ValueError, OverflowError) as error:
                raise ManifestError(f"{path}: a row does not fit the schema: {error}") from error
            writer.write_table(table)
            count += len(group)
            if not group:
                return count


def iterate_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[Row]:
    """Rows of one manifest as dicts, in its order, few in memory at a time.

    Raises
    ------
    ManifestError
        Not a readable manifest.
    """
    for table in iterate_tables(path, columns):
        yield from table.to_pylist()


def iterate_tables(
    path: Path,
    columns: Sequence[str] | None = None,
    rows: int = _ROWS_PER_GROUP,
    coded: Sequence[str] = (),
) -> Iterator[pa.Table]:
    """Rows of one manifest as Arrow tables of so many rows, in its order.

    Parameters
    ----------
    coded : sequence of str
        Columns of text to give as codes and their dictionary, which are quicker to read.

    Raises
    ------
    ManifestError
        Not a readable manifest.
    """
    try:
        # Buffers filled ahead would be those of the whole file.
        with pq.ParquetFile(
            path, page_checksum_verification=True, pre_buffer=False, read_dictionary=list(coded)
        ) as file:
            wanted = columns or arrow_schema().names
            stored = file.metadata.schema.to_arrow_schema()
            there = _check_schema(stored, path, wanted)
            # A batch ends with its row group at the latest.
            batches = file.iter_batches(batch_size=rows, columns=there)
            for batch in batches:
                some = [batch]
                while sum(map(len, some)) < rows and (more := next(batches, None)) is not None:
                    some.append(more)
                yield _completed(pa.Table.from_batches(some), wanted)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path}: not a readable manifest: {error}") from error


def count_rows(path: Path) -> int:
    """Rows of one manifest, by its footer.

    Raises
    ------
    ManifestError
        Not a readable manifest.
    """
    try:
        return int(pq.read_metadata(path).num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ManifestError(f"{path}: not a readable manifest: {error}") from error


def manifest_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Parquet files behind paths: files, folders of them, or a build's OUT folder.

    `uls23`, where there is nothing of that name, is the published archive that ships with us.

    Raises
    ------
    ManifestError
        A path is missing or holds no manifest.
    """
    several = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    for path in map(Path, several):
        if path == Path(PUBLISHED) and not path.exists():
            path = shipped("manifests", PUBLISHED)
        if path.is_file():
            files.append(path)
            continue
        found = [
            file
            for pattern in ("manifest/*.parquet", "*.parquet")
            for file in sorted(path.glob(pattern))
            if file.is_file()  # a pipe of that name would be waited for
        ]
        if not found:
            what = "holds no .parquet file" if path.is_dir() else "no such file or folder"
            raise ManifestError(f"{path}: {what}; expected a manifest or the OUT folder of a build")
        files += found
    return files


def read_table(
    paths: str | Path | Sequence[str | Path],
    columns: Sequence[str] | None = None,
    filters: Any = None,
) -> pa.Table:
    """Manifests as one Arrow table; column and row filters are pushed into Parquet.

    Raises
    ------
    ManifestError
        Not a manifest, of a newer schema, or without the columns asked for.
    """
    wanted = _known(columns)
    tables = []
    for path in manifest_files(paths):
        try:
            there = _check_schema(pq.read_schema(path), path, wanted)
            table = _read(path, there, filters)
        except (pa.ArrowInvalid, OSError) as error:
            raise ManifestError(f"{path}: not a readable Parquet file: {error}") from error
        except (pa.ArrowNotImplementedError, pa.ArrowKeyError, ValueError) as error:
            raise ManifestError(f"{path}: the filter does not fit the columns: {error}") from error
        tables.append(_completed(table, wanted))
    return pa.concat_tables(tables).replace_schema_metadata(None)


def read_rows(
    paths: str | Path | Sequence[str | Path],
    rows: Sequence[int],
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Read some rows as one Arrow table; row groups that hold none of them are not read.

    Parameters
    ----------
    rows : sequence of int
        Numbers of rows, ascending, as `read_table` returns them.

    Raises
    ------
    ManifestError
        As `read_table`.
    """
    wanted = _known(columns)
    numbers = np.asarray(rows, np.int64)
    # `empty_table`, and taking by numbers of NumPy, import pandas.
    kinds = pa.schema([arrow_schema().field(name) for name in wanted])
    tables = [pa.table([pa.nulls(0, kind) for kind in kinds.types], schema=kinds)]
    start = 0
    for path in manifest_files(paths):
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                there = _check_schema(file.schema_arrow, path, wanted)
                for group in range(file.num_row_groups):
                    stop = start + file.metadata.row_group(group).num_rows
                    low, high = numbers.searchsorted([start, stop])
                    if low < high:
                        table = file.read_row_group(group, columns=there)
                        some = arrow_array((numbers[low:high] - start).tolist(), pa.int64())
                        table = table.take(some)
                        tables.append(_completed(table, wanted))
                    start = stop
        except (pa.ArrowException, OSError) as error:
            raise ManifestError(f"{path}: not a readable Parquet file: {error}") from error
    return pa.concat_tables(t.replace_schema_metadata(None) for t in tables)


def _read(path: Path, columns: list[str], filters: Any) -> pa.Table:
    if filters is not None:
        return pq.read_table(
            path, columns=columns, filters=filters, page_checksum_verification=True
        )
    # `pq.read_table` imports pandas, which takes longer than most manifests.
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read(columns=columns)
        table.validate()
        # In a damaged file columns may end early.
        if table.num_rows != file.metadata.num_rows:
            raise pa.ArrowInvalid(f"{table.num_rows} rows of {file.metadata.num_rows}")
    return table


def _known(columns: Sequence[str] | None) -> list[str]:
    names: list[str] = arrow_schema().names
    for column in columns or ():
        if column not in names:
            raise ManifestError(
                f"no column {column!r}.{did_you_mean(column, names)} `uls-data columns` lists them"
            )
    return names if columns is None else list(columns)


def _completed(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Table with these columns: those that its manifest is too old for are null."""
    for name in columns:
        if name not in table.column_names:
            field = arrow_schema().field(name)
            table = table.append_column(field, pa.nulls(len(table), field.type))
    return table.select(list(columns))


def _check_schema(found: pa.Schema, path: Path, columns: Sequence[str]) -> list[str]:
    """Refuse a Parquet file that is not a manifest, of a newer schema, or of other types.

    Returns
    -------
    list of str
        Those of the columns that it has; the others are younger than it.
    """
    version = (found.metadata or {}).get(VERSION_KEY, b"")
    if not version.isdigit():
        raise ManifestError(
            f"{path}: Parquet, but not a manifest of uls-data. Other programs, such as pandas, "
            "drop what marks one: docs/queries.md shows how to keep some rows as a manifest"
        )
    if int(version) > document()["version"]:
        raise ManifestError(
            f"{path}: schema version {int(version)}, this program knows "
            f"{document()['version']}; install a newer uls-data"
        )
    younger = columns_since(int(version))
    there = [name for name in columns if name not in younger or name in found.names]
    for name in there:
        expected = arrow_schema().field(name).type
        places = found.get_all_field_indices(name)
        if len(places) != 1 or found.field(places[0]).type != expected:
            several = f"{len(places)} columns of that name" if places else "no such column"
            what = found.field(places[0]).type if len(places) == 1 else several
            raise ManifestError(f"{path}: column {name}: expected {expected}, found {what}")
    return there


def load_manifest(
    paths: str | Path | Sequence[str | Path],
    columns: Sequence[str] | None = None,
    filters: Any = None,
) -> pd.DataFrame:
    """Manifests as a pandas DataFrame.

    Parameters
    ----------
    paths : path or sequence of paths
        Manifest files, folders of them, the OUT folder of a build, or `uls23`.
    columns : sequence of str, optional
        Only these columns.
    filters : optional
        As pyarrow takes them, such as `[("status", "=", "ok")]`.

    Raises
    ------
    ManifestError
        Not a manifest, of a newer schema, or without the columns asked for.
    """
    return frame_of(read_table(paths, columns, filters))


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Arrow table as a DataFrame in which numbers and truth values may be null."""
    import pandas as pd

    nullable = {
        pa.int32(): pd.Int32Dtype(),
        pa.int64(): pd.Int64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
    }
    frame: pd.DataFrame = table.to_pandas(types_mapper=nullable.get)
    return frame
