"""A small index in the IDC's own form, and series of small files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from demo.idc import BUCKET, VERSION, series_uuid

UUID = "00000000-0000-4000-8000-{:012d}"
ROW: dict[str, Any] = {
    "collection_id": "lesions",
    "analysis_result_id": None,
    "PatientID": "P-1",
    "StudyInstanceUID": "1.2.1",
    "SeriesInstanceUID": "1.2.1.1",
    "Modality": "CT",
    "SeriesDescription": None,
    "crdc_series_uuid": UUID.format(1),
    "aws_bucket": BUCKET,
    "instanceCount": 3,
    "license_short_name": "CC BY 4.0",
    "series_size_MB": 0.003,
}


def row(number: int, **changes: Any) -> dict[str, Any]:
    """Row of the index, with ids of its own."""
    ids = {"SeriesInstanceUID": f"1.2.9.{number}", "crdc_series_uuid": UUID.format(number)}
    return {**ROW, **ids, **changes}


def write_index(path: Path, rows: list[dict[str, Any]], version: str = VERSION) -> Path:
    """Write rows as the package `idc-index-data` has them."""
    types = {"instanceCount": pa.int64(), "series_size_MB": pa.float64()}
    fields = [(name, types.get(name, pa.large_string())) for name in ROW]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    said = {"idc_index_data_version": f"{version}-0-gf08b112"}
    pq.write_table(table.replace_schema_metadata(said), path)
    return path


def made_series(count: int, files: int = 3, size: int = 1000) -> dict[str, dict[str, bytes]]:
    """Make series of small files, each with bytes of its own; two series a patient."""
    return {
        series_uuid(at): {
            f"{number:04d}.dcm": bytes([at % 256, number % 256]) * (size // 2 + number)
            for number in range(files)
        }
        for at in range(count)
    }
