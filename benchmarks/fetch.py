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
import tempfile
import time
from pathlib import Path

from benchmarks.voi import call, last_line
from demo.idc import BUCKET, object_store, series_uuid, write_pinned
from uls_data.fetching.s5cmd import ENDPOINT_VARIABLE, program

WITH, WITHOUT = "fetch", "fetch, without the start of Python"


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
    draw = random.Random(0)
    files = {f"{number:04d}.dcm": draw.randbytes(size) for number in range(chosen.files)}
    series = {series_uuid(number): files for number in range(chosen.series)}
    megabytes = chosen.series * chosen.files * size / 1e6
    rates: dict[str, list[float]] = {"s5cmd alone": [], WITH: [], WITHOUT: []}
    with tempfile.TemporaryDirectory() as temporary, object_store() as store:
        root = Path(temporary)
        store.put_series(series)
        recipe = write_pinned(root, series)
        for _ in range(chosen.repeat):
            for name in ("s5cmd alone", WITH):
                folder = root / "downloads"
                os.sync()
                start = time.perf_counter()
                if name == WITH:
                    rates[WITHOUT].append(megabytes / ours(recipe, folder, store.url))
                else:
                    theirs(list(series), folder, store.url)
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
