"""`uls-data query` against a bare import and read, as whole processes.

Run as `python -m benchmarks.query [M] [--rounds 7]`: every program runs once a round, in turn, so
that all of them see the same machine; printed are medians and the ratio to the bare program that
reads the same columns.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from uls_data.manifest.parquet import manifest_files

EXPRESSION = 'status == "ok" and long_axis_vox > 100 and not flagged("cut_by_voi")'
COLUMNS = "source,voi_id,long_axis_vox,short_axis_vox"
BARE = """
import sys
import pandas
import pyarrow.parquet
columns = sys.argv[1].split(",") if sys.argv[1] else None
tables = [pyarrow.parquet.read_table(path, columns=columns) for path in sys.argv[2:]]
frame = pandas.concat(table.to_pandas() for table in tables)
print(len(frame))
"""


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", nargs="?", type=Path, default=Path("uls23"))
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    files = [str(path) for path in manifest_files(given.manifest)]
    tool = [sys.executable, "-m", "uls_data", "query", str(given.manifest)]
    bare = [sys.executable, "-c", BARE]
    programs = {
        "bare, these columns": [*bare, f"{COLUMNS},status,qc_flags", *files],
        "bare, all columns": [*bare, "", *files],
        "query, these columns": [*tool, EXPRESSION, "--columns", COLUMNS, "--csv"],
        "query, all columns": [*tool, EXPRESSION, "--csv"],
        "query, every row": [*tool, "--columns", COLUMNS, "--csv"],
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(given.rounds):
        for name, command in programs.items():
            times[name].append(seconds(command))
    base = statistics.median(times["bare, these columns"])
    for name, some in times.items():
        middle = statistics.median(some)
        print(
            f"{name:22} {middle:6.2f} s ({min(some):.2f} to {max(some):.2f}), {middle / base:.2f}x"
        )


if __name__ == "__main__":
    main()
