"""A small index in the IDC's own form, and lists of series made from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID as UUID_OF

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from uls_data.fetching.series_list import SCHEMA, write_series
from uls_data.recipe import load_recipe, recipe_template

VERSION = "25.0.5"
BUCKET = "idc-open-data"
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
    "aws_bucket": "idc-open-data",
    "instanceCount": 3,
    "license_short_name": "CC BY 4.0",
    "series_size_MB": 0.003,
}
PINNED: dict[str, Any] = {
    "series": "series.parquet",
    "index": VERSION,
    "collections": ["lesions"],
    "annotations_of": ["lesions_readings"],
    "annotations": ["SEG"],
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


def write_pinned(folder: Path, series: dict[str, Any], fetch: Any = None, **changes: Any) -> Path:
    """Write a recipe that pins series, with its list.

    Parameters
    ----------
    series : dict
        Uuid of each series, and its files: a dictionary of names and bytes. The patient is called
        after the third field of the uuid.
    fetch : dict, optional
        Further parts of the recipe's block.
    changes : dict
        Columns of the list that are other than they should be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "patient_id": f"P-{uuid[14:18]}",
            "study_instance_uid": "1.2",
            "series_instance_uid": f"1.2.{int(uuid[-12:])}",
            "modality": "CT",
            "crdc_series_uuid": UUID_OF(uuid).bytes,
            "bucket": BUCKET,
            "files": len(files),
            "size_bytes": sum(map(len, files.values())),
            "licence": "CC BY 4.0",
            "even": None,
            "uneven_because": None,
            **changes,
        }
        for uuid, files in series.items()
    ]
    block = dict(fetch or {})
    if rows:
        write_series(folder / "series.parquet", pa.Table.from_pylist(rows, SCHEMA), VERSION)
        block["idc"] = PINNED
    content = yaml.safe_load(recipe_template("lesions"))
    content["licence"] = {**content["licence"], "name": "CC-BY-4.0"}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**content, "fetch": block}), encoding="utf-8")
    load_recipe.cache_clear()
    return path


def made_series(count: int, files: int = 3, size: int = 1000) -> dict[str, dict[str, bytes]]:
    """Make series of small files, each with bytes of its own; two series a patient."""
    return {
        f"00000000-0000-4{at // 2:03d}-8000-{at:012d}": {
            f"{number:04d}.dcm": bytes([at % 256, number % 256]) * (size // 2 + number)
            for number in range(files)
        }
        for at in range(count)
    }
