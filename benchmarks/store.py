"""Random VOIs per second and megabytes read per VOI: a store against the NIfTI files.

Run as `python -m benchmarks.store [--crop Z Y X] [--vois 30] [--repeat 5] [--seed 0] [--json]`.

Both are read by `VoiDataset`, in turn, in one process with one thread. The scan is made up;
`--scan IMAGE MASK` takes a real one.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks.ours import RECIPE, RECIPE_FILE
from benchmarks.voi import call


def bytes_read() -> int:
    """What this process has asked the system for so far, from the cache or the disk."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(data: Any, order: list[int]) -> dict[str, float]:
    """Seconds, CPU seconds and megabytes per item."""
    before, wall, cpu = bytes_read(), time.perf_counter(), time.process_time()
    for index in order:
        data[index]
    n = len(order)
    return {
        "seconds": (time.perf_counter() - wall) / n,
        "cpu_s": (time.process_time() - cpu) / n,
        "mb": (bytes_read() - before) / n / 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crop", type=int, nargs=3, default=[64, 128, 128], metavar="N")
    parser.add_argument("--scan", type=Path, nargs=2, metavar=("IMAGE", "MASK"))
    parser.add_argument("--lesions", type=int, default=5)
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--vois", type=int, default=30, help="items a turn")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()

    import numpy as np
    import torch

    from uls_data import VoiDataset, build, export_store

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        raw, vois, store = (Path(folder) / name for name in ("raw", "vois", "store"))
        for kind, path in zip(("images", "masks"), options.scan or (), strict=False):
            (raw / kind).mkdir(parents=True)
            shutil.copy(path, raw / kind / f"scan{''.join(path.suffixes)}")
        if options.scan is None:
            made = ["--lesions", str(options.lesions), "--seed", str(options.seed)]
            call("benchmarks.phantom", "--root", raw, *made)
        (raw / RECIPE_FILE).write_text(RECIPE, encoding="utf-8")
        build(raw / RECIPE_FILE, raw, vois, clicks=options.clicks)
        began = time.process_time()
        export_store(vois, store)
        exporting = time.process_time() - began
        crop = tuple(options.crop)
        data = {"NIfTI": VoiDataset(vois, crop=crop), "store": VoiDataset(store, crop=crop)}
        random = np.random.default_rng(options.seed)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in data}
        for one in data.values():
            one[0]
        for _ in range(options.repeat):
            order = random.integers(0, len(data["NIfTI"]), options.vois).tolist()
            for name, one in data.items():
                runs[name].append(measure(one, order))
        vois_stored = len(data["NIfTI"])
        sizes = {"NIfTI": size_of(vois), "store": size_of(store)}
    rows = []
    for name, found in runs.items():
        middle = {key: statistics.median(run[key] for run in found) for key in found[0]}
        rows.append(
            {
                "name": name,
                "vois_per_s": round(1 / middle["seconds"], 1),
                "cpu_ms": round(1e3 * middle["cpu_s"], 2),
                "mb_read": round(middle["mb"], 2),
                "size_mb": round(sizes[name] / 1e6, 1),
            }
        )
    ratio = runs_ratio(runs)
    if options.json:
        for row in rows:
            print(json.dumps(row | {"crop": options.crop}))
        print(json.dumps({"name": "ratio", "cpu_ratio": round(ratio, 2)}))
        return
    print(
        f"\ncrop {crop} of {vois_stored} VOIs on one scan, one thread, median of {options.repeat}"
    )
    print(f"{'':<10}{'VOIs/s':>10}{'CPU ms/VOI':>12}{'MB read/VOI':>13}{'MB on disk':>12}")
    for row in rows:
        print(
            f"{row['name']:<10}{row['vois_per_s']:>10.1f}{row['cpu_ms']:>12.2f}"
            f"{row['mb_read']:>13.2f}{row['size_mb']:>12.1f}"
        )
    print(f"NIfTI takes {ratio:.1f} times the CPU of the store (median of the turns)")
    print(f"export: {exporting / vois_stored * 1e3:.0f} ms of CPU per VOI")


def runs_ratio(runs: dict[str, list[dict[str, float]]]) -> float:
    """NIfTI's CPU seconds by the store's, turn by turn; the median."""
    pairs = zip(runs["NIfTI"], runs["store"], strict=True)
    return float(statistics.median(one["cpu_s"] / other["cpu_s"] for one, other in pairs))


if __name__ == "__main__":
    main()
