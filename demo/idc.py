"""A made-up archive as the IDC serves it: an object store, and a recipe that pins its series."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import yaml

from uls_data.fetching.series_list import SCHEMA, write_series
from uls_data.recipe import load_recipe, recipe_template

VERSION = "25.0.5"
BUCKET = "idc-open-data"
PINNED: dict[str, Any] = {
    "series": "series.parquet",
    "index": VERSION,
    "collections": ["lesions"],
    "annotations_of": ["lesions_readings"],
    "annotations": ["SEG"],
}

_MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
server.stop()
"""


@dataclass
class Store:
    """A running object store with one bucket, which anybody may read."""

    port: int

    @property
    def url(self) -> str:
        """Address of the store."""
        return f"http://127.0.0.1:{self.port}"

    def put(self, key: str, data: bytes) -> None:
        """Store an object."""
        assert self._ask("PUT", f"/{BUCKET}/{key}", data) == 200

    def put_series(self, series: dict[str, dict[str, bytes]]) -> None:
        """Store series, as `write_pinned` takes them."""
        for uuid, files in series.items():
            for name, data in files.items():
                self.put(f"{uuid}/{name}", data)

    def remove(self, key: str) -> None:
        """Remove an object."""
        assert self._ask("DELETE", f"/{BUCKET}/{key}") == 204

    def empty(self) -> None:
        """Forget all objects."""
        assert self._ask("POST", "/moto-api/reset") == 200
        assert self._ask("PUT", f"/{BUCKET}") == 200

    def _ask(self, method: str, path: str, data: bytes = b"") -> int:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(method, path, data, {"x-amz-acl": "public-read"})
        status = connection.getresponse().status
        connection.close()
        return status


@contextmanager
def object_store() -> Iterator[Store]:
    """Run moto's S3 in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", _MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        store = Store(int(process.stdout.readline()))
        store.empty()
        yield store
        process.kill()


def series_uuid(number: int) -> str:
    """Uuid of a series; two series a patient, whom `write_pinned` calls after the third field."""
    return f"00000000-0000-4{number // 2:03d}-8000-{number:012d}"


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
            "crdc_series_uuid": UUID(uuid).bytes,
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
