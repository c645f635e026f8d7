"""A passport of five million rows: seconds and peak memory to make it, and to audit against it.

    python -m benchmarks.passport [--rows 5000000]

The manifest is made up: ten lesions per scan, two scans per patient, each row with its own
hashes. It is audited against the passport of all its rows (every row is seen), and so are a hundred
thousand rows of which none is. Each command is a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.million import ROWS_A_GROUP, Watched, hashes
from uls_data.manifest.schema import arrow_schema

LESIONS_A_SCAN, SCANS_A_PATIENT = 10, 2
STRANGERS = 100_000
HASHES = ("image_sha256", "image_voxels_sha256", "label_sha256", "label_voxels_sha256")


def table(source: str, numbers: np.ndarray) -> pa.Table:
    """Rows of a manifest in the order of their keys; columns that are not compared are null."""
    n = len(numbers)
    rng = np.random.default_rng([int(numbers[0]), len(source)])
    scans = (numbers // LESIONS_A_SCAN).tolist()
    lesions = (numbers % LESIONS_A_SCAN + 1).tolist()
    of_scan = hashes(np.random.default_rng([scans[0], 1]), scans[-1] - scans[0] + 1)
    columns = {
        "source": [source] * n,
        "case_id": [f"case_{scan:07d}" for scan in scans],
        "patient_id": [f"patient_{scan // SCANS_A_PATIENT:07d}" for scan in scans],
        "series_instance_uid": [f"2.25.{10**31 + scan}{len(source)}" for scan in scans],
        "voi_id": [
            f"case_{scan:07d}_lesion_{lesion:02d}_sample_0"
            for scan, lesion in zip(scans, lesions, strict=True)
        ],
        "lesion_index": lesions,
        "sample_index": np.zeros(n, np.int64),
        "layer": ["annotated"] * n,
        "status": ["ok"] * n,
        "image_source_sha256": of_scan.take(pa.array(np.array(scans) - scans[0])),
        **{name: hashes(rng, n) for name in HASHES},
    }
    if source != "one":
        columns["image_source_sha256"] = hashes(rng, n)
    arrays = []
    for field in arrow_schema():
        values = columns.get(field.name)
        arrays.append(
            pa.nulls(n, field.type) if values is None else pa.array(values).cast(field.type)
        )
    return pa.table(arrays, schema=arrow_schema())


def make(path: Path, source: str, rows: int) -> None:
    """Write a manifest."""
    with pq.ParquetWriter(path, arrow_schema(), compression="zstd") as writer:
        for start in range(0, rows, ROWS_A_GROUP):
            writer.write_table(table(source, np.arange(start, min(start + ROWS_A_GROUP, rows))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        known, strange, passport = (Path(folder) / f"{name}.parquet" for name in "msp")
        make(known, "one", rows)
        make(strange, "another", STRANGERS)
        print(f"{'':38}{'s':>7}{'CPU s':>8}{'MiB':>7}", flush=True)
        for name, words in (
            (f"passport --from {rows:,} rows", ["passport", "--from", known, "--out", passport]),
            (f"audit {rows:,} rows --against", ["audit", known, "--against", passport]),
            (f"audit {STRANGERS:,} others --against", ["audit", strange, "--against", passport]),
        ):
            watched = Watched([str(word) for word in words], subprocess.PIPE)
            assert watched.process.stdout is not None
            said = watched.process.stdout.read()
            code = watched.wait()
            told = next((line for line in said.splitlines() if line.startswith("seen")), "")
            seconds = watched.seconds()
            numbers = f"{seconds:7.1f}{watched.cpu_s:8.1f}{watched.peak_mib:7.0f}"
            print(f"{name:38}{numbers}  exit {code} {' '.join(told.split()[:2])}", flush=True)
        print(f"passport: {passport.stat().st_size / (1 << 20):.0f} MiB")


if __name__ == "__main__":
    main()
