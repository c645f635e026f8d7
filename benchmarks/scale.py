"""A million lesions' rows through engine, journal and manifest, without voxels.

Run as `python -m benchmarks.scale [--rows 1000000]`: prints, as the run grows, the
time and the resident memory that rows cost, and what writing the manifest costs.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import psutil

from uls_data.engine import Pool, run_tasks
from uls_data.factory.state import State
from uls_data.ids import draw
from uls_data.manifest.parquet import read_table
from uls_data.manifest.schema import document

LESIONS_A_CASE = 10
VALUES = {"string": "a text of common length", "int32": 7, "int64": 7, "float64": 12.5}


def rows_of(number: int) -> list[dict[str, object]]:
    """Made-up rows of one case: every column filled, hashes all different."""
    filled = {
        column["name"]: VALUES[column["type"]]
        for column in document()["columns"]
        if column["type"] in VALUES
    }
    rows = []
    for lesion in range(1, LESIONS_A_CASE + 1):
        name = f"case_{number:07d}_lesion_{lesion:02d}_sample_0"
        rows.append(
            {
                **filled,
                "source": "scale",
                "case_id": f"case_{number:07d}",
                "lesion_index": lesion,
                "sample_index": 0,
                "layer": "annotated",
                "voi_id": name,
                "status": "ok",
                "reason": None,
                "image_path": None,
                "label_path": None,
                "image_sha256": f"{draw(1 << 256, name):064x}",
                "label_sha256": f"{draw(1 << 256, name, 1):064x}",
                "affine": [0.8, 0.0, 0.0, -150.0, 0.0, 0.8, 0.0, 20.0, 0.0, 0.0, 2.5, 99.0] * 1
                + [0.0, 0.0, 0.0, 1.0],
                "long_axis_points_vox": [110.0, 120.0, 140.0, 150.0],
                "qc_flags": ["cut_by_voi"],
            }
        )
    return rows


def lost(_task: int, detail: str) -> list[dict[str, object]]:
    raise RuntimeError(detail)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    cases = arguments.rows // LESIONS_A_CASE
    process = psutil.Process()
    folder = Path(tempfile.mkdtemp())
    try:
        state = State(folder, "scale")
        finished = {}
        base = process.memory_info().rss
        said = time.perf_counter()
        for done, (number, rows) in enumerate(
            run_tasks(rows_of, range(cases), Pool(), lost=lost), start=1
        ):
            case_id = f"case_{number:07d}"
            finished[case_id] = state.save(case_id, "options", "key", rows)
            if done % (cases // 10) == 0:
                now = time.perf_counter()
                each = (now - said) / (cases // 10 * LESIONS_A_CASE)
                grown = (process.memory_info().rss - base) / (1 << 20)
                print(
                    f"{done * LESIONS_A_CASE:>10,} rows: {each * 1e6:6.1f} us a row, "
                    f"{grown:6.1f} MiB more than at the start",
                    flush=True,
                )
                said = now
        start = time.perf_counter()
        state.finish(finished)
        seconds = time.perf_counter() - start
        peak = (process.memory_info().rss - base) / (1 << 20)
        rows_written = read_table(state.manifest, ["status"]).num_rows
        size = state.manifest.stat().st_size / (1 << 20)
        print(
            f"manifest of {rows_written:,} rows: {seconds / rows_written * 1e6:.1f} us a row, "
            f"{size:.0f} MiB, {peak:.0f} MiB more memory than at the start"
        )
        start = time.perf_counter()
        again = State(folder, "scale").load()
        print(f"the same command again: {len(again):,} cases known in", end=" ")
        print(f"{time.perf_counter() - start:.1f} s")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
