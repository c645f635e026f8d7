"""From an empty folder to lesions: what `fetch` brings of a collection builds as it should."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pydicom
from makers.collection_table import make
from makers.store import Proxy

import uls_data
from demo.idc import BUCKET, VERSION, Store
from uls_data.fetching.series_list import SCHEMA, read_series, write_series
from uls_data.recipe import load_recipe

SOURCE = "eay131"
COLUMNS = ["voi_id", "status", "reason", "lesion_type", "click_source", "mask_voxels"]


def test_a_collection(tmp_path: Path, store: Store, line: Proxy) -> None:
    made = tmp_path / "made"
    make(SOURCE, made)
    rows = []
    folders = sorted({path.parent for path in made.rglob("*") if path.is_file()})
    for number, folder in enumerate(folders):
        uuid = f"00000000-0000-4000-8000-{number:012d}"
        files = sorted(folder.iterdir())
        for path in files:
            store.put(f"{uuid}/{path.name}", path.read_bytes())
        header = pydicom.dcmread(files[0], stop_before_pixels=True)
        rows.append(
            {
                "patient_id": header.PatientID,
                "study_instance_uid": header.StudyInstanceUID,
                "series_instance_uid": header.SeriesInstanceUID,
                "modality": header.Modality,
                "crdc_series_uuid": UUID(uuid).bytes,
                "bucket": BUCKET,
                "files": len(files),
                "size_bytes": sum(path.stat().st_size for path in files),
                "licence": "CC BY 4.0",
            }
        )
    recipe = tmp_path / "recipe.yaml"
    shutil.copy(load_recipe(SOURCE).path, recipe)
    write_series(tmp_path / "series.parquet", pa.Table.from_pylist(rows, schema=SCHEMA), VERSION)
    raw = tmp_path / "raw"
    assert uls_data.fetch(recipe, raw).complete
    for series in read_series(tmp_path / "series.parquet"):
        folder = folders[int(series.uuid[-12:])]
        here = {path.name: path.read_bytes() for path in (raw / series.path).iterdir()}
        assert here == {path.name: path.read_bytes() for path in folder.iterdir()}
    built = []
    for root, name in ((made, "a"), (raw, "b")):
        uls_data.build(recipe, root, tmp_path / name, labels_only=True)
        frame = uls_data.load_manifest(tmp_path / name, columns=COLUMNS)
        built.append(sorted(map(repr, frame.itertuples(index=False))))
    assert built[0] == built[1]
    assert sum("'ok'" in row for row in built[1]) >= 4
    assert sum("'human'" in row for row in built[1]) >= 1
