"""The list of DICOM series that a recipe pins: a small Parquet file beside it, a row a series."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from uls_data.errors import RecipeError
from uls_data.io import write_bytes

SCHEMA = pa.schema(
    [
        ("patient_id", pa.string()),
        ("study_instance_uid", pa.string()),
        ("series_instance_uid", pa.string()),
        ("modality", pa.string()),
        ("crdc_series_uuid", pa.binary(16)),
        ("bucket", pa.string()),
        ("files", pa.int32()),
        ("size_bytes", pa.int64()),
        ("licence", pa.string()),
        # Whether the IDC's checks found an even stack; null where it made none.
        ("even", pa.bool_()),
        # Names of the checks that it failed, in words.
        ("uneven_because", pa.string()),
    ]
)
_NULLABLE = {"even", "uneven_because"}
_REPEATED = ["modality", "bucket", "licence", "uneven_because"]
_ORDER = ["patient_id", "study_instance_uid", "modality", "series_instance_uid"]
MOST_ROWS = 2_000_000
MOST_LIST_BYTES = 1 << 27
MOST_FILES = 1_000_000
MOST_SERIES_BYTES = 1 << 40
# What becomes part of a path, or of a command of s5cmd, consists of these characters.
_SHAPES = {
    "patient_id": r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}",
    "study_instance_uid": r"[0-9][0-9.]{0,63}",
    "series_instance_uid": r"[0-9][0-9.]{0,63}",
    "modality": r"[A-Z]{2,16}",
    "bucket": r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]",
}


@dataclass(frozen=True, slots=True)
class Series:
    """One DICOM series of the IDC.

    Attributes
    ----------
    uuid : str
        Of this version of the series (`crdc_series_uuid`): a changed series gets another one.
    files, size_bytes : int
        Number of its files, and their bytes together.
    even : bool or None
        Whether the IDC's checks found an even stack of slices; None where it made none.
    uneven_because : str or None
        The checks that it failed.
    """

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    uuid: str
    bucket: str
    files: int
    size_bytes: int
    licence: str
    even: bool | None
    uneven_because: str | None

    @property
    def path(self) -> str:
        """Folder of the series below the raw root, with `/`."""
        return (
            f"{self.patient_id}/{self.study_instance_uid}/"
            f"{self.modality}_{self.series_instance_uid}"
        )

    @property
    def url(self) -> str:
        """Where its files are, without the last `/`."""
        return f"s3://{self.bucket}/{self.uuid}"


def write_series(path: Path, table: pa.Table, index: str) -> None:
    """Write a list, the same bytes for the same rows.

    Parameters
    ----------
    table : pyarrow.Table
        Columns of `SCHEMA`, rows in any order.
    index : str
        Version of `idc-index-data` that it was made from.
    """
    table = table.select(SCHEMA.names).cast(SCHEMA).sort_by([(n, "ascending") for n in _ORDER])
    table = table.replace_schema_metadata({"idc_index_data": index})
    sink = pa.BufferOutputStream()
    encodings = {n: "DELTA_BYTE_ARRAY" for n in _ORDER if n not in _REPEATED}
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=19,
        use_dictionary=_REPEATED,
        column_encoding=encodings,
        write_statistics=False,
        row_group_size=MOST_ROWS,
    )
    write_bytes(path, sink.getvalue().to_pybytes())


def read_series(path: Path, index: str | None = None) -> list[Series]:
    """Read a list, of which nothing is trusted.

    Parameters
    ----------
    index : str, optional
        Version of `idc-index-data` that it must be of.

    Raises
    ------
    RecipeError
        It is missing or damaged, or a row could lead elsewhere than it should.
    """
    try:
        if path.stat().st_size > MOST_LIST_BYTES:
            raise RecipeError(f"{path}: larger than a list of series can be (128 MiB)")
        with pq.ParquetFile(path) as file:
            if file.metadata.num_rows > MOST_ROWS:
                raise RecipeError(f"{path}: {file.metadata.num_rows} rows, expected fewer")
            table = file.read()
        schema = table.schema.remove_metadata()
        if schema != SCHEMA:
            raise RecipeError(
                f"{path}: expected the columns {', '.join(SCHEMA.names)} as `python -m tools.pins` "
                f"writes them, found {', '.join(schema.names)}"
            )
        rows = table.to_pylist()
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or 'damaged'}") from error
    except (pa.ArrowException, ValueError, MemoryError) as error:
        raise RecipeError(f"{path}: not a whole Parquet file") from error
    found = (table.schema.metadata or {}).get(b"idc_index_data", b"").decode("ascii", "replace")
    if index is not None and found != index:
        raise RecipeError(
            f"{path}: made from idc-index-data {found or '(not said)'}, while the recipe's "
            f"fetch.idc.index says {index}; `python -m tools.pins` writes it again"
        )
    series = [_checked(row, at, path) for at, row in enumerate(rows, 1)]
    for name, values in (
        ("folder", [one.path.casefold() for one in series]),
        ("uuid", [one.uuid for one in series]),
    ):
        for value, count in Counter(values).most_common(1):
            if count > 1:
                raise RecipeError(f"{path}: {count} rows have the {name} {value}")
    return series


def _checked(row: dict[str, Any], at: int, path: Path) -> Series:
    """Make a series of a row.

    Raises
    ------
    RecipeError
    """
    for name, value in row.items():
        if value is None and name not in _NULLABLE:
            raise RecipeError(f"{path}: row {at}: {name} is null")
    for name, shape in _SHAPES.items():
        if not re.fullmatch(shape, row[name]):
            raise RecipeError(f"{path}: row {at}: {name} is {row[name][:80]!r}, not {shape}")
    for name, most in (("files", MOST_FILES), ("size_bytes", MOST_SERIES_BYTES)):
        if not 1 <= row[name] <= most:
            raise RecipeError(f"{path}: row {at}: {name} is {row[name]}, expected 1 to {most}")
    row["uuid"] = str(UUID(bytes=row.pop("crdc_series_uuid")))
    return Series(**row)
