"""How fast does `fetch` download, against s5cmd alone from the same store?

Run as `python -m benchmarks.fetch [--series 24] [--files 60] [--kilobytes 526] [--repeat 3]`.

The store is moto's S3 on this machine, the files are as large as slices of CT. s5cmd alone runs a
list of copies, as idc-index runs it: it checks nothing. `fetch` lists, copies, compares sizes and
MD5 sums, and waits until every file is on the disk. The two take turns; medians are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from uuid import UUID

import pyarrow as pa

from benchmarks.ours import RECIPE
from benchmarks.voi import call, last_line
from uls_data.fetching.s5cmd import ENDPOINT_VARIABLE, program
from uls_data.fetching.series_list import SCHEMA, write_series

BUCKET, INDEX = "idc-open-data", "25.0.5"
WITH, WITHOUT = "fetch", "fetch, without the start of Python"
MOTO = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
PINS = f"""\
fetch:
  idc:
    series: series.parquet
    index: {INDEX}
    collections: [made_up]
    annotations_of: [made_up]
    annotations: [SEG]
"""


@contextmanager
def store(series: list[str], files: int, size: int) -> Iterator[str]:
    """Run an object store with series in it; yields its address."""
    with subprocess.Popen(
        [sys.executable, "-c", MOTO],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        connection = HTTPConnection("127.0.0.1", int(process.stdout.readline()))
        draw = random.Random(0)

        def put(path: str, data: bytes = b"") -> None:
            connection.request("PUT", f"/{BUCKET}{path}", data, {"x-amz-acl": "public-read"})
            connection.getresponse().read()

        put("")
        for uuid in series:
            for number in range(files):
                put(f"/{uuid}/{number:04d}.dcm", draw.randbytes(size))
        yield f"http://127.0.0.1:{connection.port}"
        process.kill()


def write_recipe(folder: Path, series: list[str], files: int, size: int) -> Path:
    """Write a recipe that pins the series."""
    rows = [
        {
            "patient_id": f"P-{at:04d}",
            "study_instance_uid": "1.2",
            "series_instance_uid": f"1.2.{at}",
            "modality": "CT",
            "crdc_series_uuid": UUID(uuid).bytes,
            "bucket": BUCKET,
            "files": files,
            "size_bytes": files * size,
            "licence": "CC BY 4.0",
        }
        for at, uuid in enumerate(series)
    ]
    write_series(folder / "series.parquet", pa.Table.from_pylist(rows, schema=SCHEMA), INDEX)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.replace("reader:\n", PINS + "reader:\n"), encoding="utf-8")
    return path


def ours(recipe: Path, folder: Path, address: str) -> float:
    """Fetch it all; returns the seconds without the start of Python."""
    os.environ[ENDPOINT_VARIABLE] = address
    printed = call("benchmarks.fetch", "--one", recipe, folder)
    return float(last_line(printed)["seconds"])


def theirs(series: list[str], folder: Path, address: str) -> None:
    """Let s5cmd alone copy it all."""
    lines = "".join(f"cp s3://{BUCKET}/{uuid}/* {folder}/{uuid}/\n" for uuid in series)
    command = [program(), "--no-sign-request", "--endpoint-url", address, "run"]
    subprocess.run(command, input=lines.encode(), check=True, capture_output=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=24)
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--kilobytes", type=int, default=526)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("RECIPE", "RAW"), help="one timed download")
    chosen = parser.parse_args()
    if chosen.one:
        import uls_data

        fetch = uls_data.fetch
        start = time.perf_counter()
        assert fetch(*chosen.one).complete
        print(json.dumps({"seconds": time.perf_counter() - start}))
        return
    size = chosen.kilobytes * 1000
    series = [str(UUID(int=(4 << 76) + (8 << 60) + at)) for at in range(chosen.series)]
    megabytes = chosen.series * chosen.files * size / 1e6
    rates: dict[str, list[float]] = {"s5cmd alone": [], WITH: [], WITHOUT: []}
    with tempfile.TemporaryDirectory() as temporary, store(series, chosen.files, size) as address:
        root = Path(temporary)
        recipe = write_recipe(root, series, chosen.files, size)
        for _ in range(chosen.repeat):
            for name in ("s5cmd alone", WITH):
                folder = root / "downloads"
                os.sync()
                start = time.perf_counter()
                if name == WITH:
                    rates[WITHOUT].append(megabytes / ours(recipe, folder, address))
                else:
                    theirs(series, folder, address)
                rates[name].append(megabytes / (time.perf_counter() - start))
                count = sum(path.stat().st_size == size for path in folder.rglob("*.dcm"))
                if count != chosen.series * chosen.files:
                    raise SystemExit(f"{name}: {count} whole files")
                shutil.rmtree(folder)
    print(f"{chosen.series} series of {chosen.files} files, {megabytes:.0f} MB, from this machine")
    for name, rate in rates.items():
        told = ", ".join(f"{one:.0f}" for one in sorted(rate))
        print(f"  {name}: {statistics.median(rate):.0f} MB/s ({told})")
    alone = statistics.median(rates["s5cmd alone"])
    for name in (WITH, WITHOUT):
        print(f"  {name}: {statistics.median(rates[name]) / alone:.2f} of s5cmd alone")


if __name__ == "__main__":
    main()
