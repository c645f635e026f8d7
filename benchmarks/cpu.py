"""CPU seconds and memory of a whole `build` with workers, start of Python included.

Run as `python -m benchmarks.cpu [--scans 8] [--lesions 5] [--workers 2] [--repeat 3]
[--against CHECKOUT]`. CPU time of all processes counts, not elapsed time, so that a busy machine
says less wrong things. With another checkout of this repository both are run in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.ours import RECIPE, RECIPE_FILE
from benchmarks.phantom import CASE
from benchmarks.voi import ROOT, call


def make_scans(raw: Path, scans: int, lesions: int) -> Path:
    """Write scans of 512 x 512 x 160 voxels; returns their recipe."""
    for seed in range(scans):
        own = raw / f"made_{seed}"
        call("benchmarks.phantom", "--root", own, "--lesions", str(lesions), "--seed", str(seed))
        for kind in ("images", "masks"):
            (raw / kind).mkdir(exist_ok=True)
            (own / kind / f"{CASE}.nii.gz").rename(raw / kind / f"phantom_{seed:03}.nii.gz")
    recipe = raw / RECIPE_FILE
    recipe.write_text(RECIPE, encoding="utf-8")
    return recipe


def cpu_of(checkout: Path, recipe: Path, workers: int) -> tuple[float, float, float]:
    """User and system seconds of a build by a checkout, and MB of its largest process."""
    with tempfile.TemporaryDirectory(dir=recipe.parent.parent) as out:
        command = [sys.executable, "-m", "uls_data", "build", str(recipe)]
        build = subprocess.Popen(
            [*command, "--raw", str(recipe.parent), "--out", out, "--workers", str(workers)],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        # Of the process and those that it waited for: its workers.
        _, status, used = os.wait4(build.pid, 0)
        build.returncode = os.waitstatus_to_exitcode(status)
        if build.returncode != 0:
            raise SystemExit(f"build by {checkout} ended with exit code {build.returncode}")
    return used.ru_utime, used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=8)
    parser.add_argument("--lesions", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout of this repository")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    arguments = parser.parse_args()
    checkouts = [ROOT] if arguments.against is None else [arguments.against.absolute(), ROOT]
    runs: dict[Path, list[tuple[float, float, float]]] = {one: [] for one in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "raw")
        recipe = make_scans(raw, arguments.scans, arguments.lesions)
        for turn in range(arguments.repeat):
            for one in checkouts if turn % 2 == 0 else reversed(checkouts):
                runs[one].append(cpu_of(one, recipe, arguments.workers))
    vois = arguments.scans * arguments.lesions
    for one, found in runs.items():
        user, system = (statistics.median(run[at] for run in found) for at in (0, 1))
        total = statistics.median(run[0] + run[1] for run in found)
        row = {"cpu_s": round(total, 2), "user_s": round(user, 2), "system_s": round(system, 2)}
        row["ms_per_voi"] = round(1000 * total / vois)
        row["peak_mb"] = round(statistics.median(run[2] for run in found))
        if arguments.json:
            print(json.dumps({"name": "this" if one == ROOT else "other"} | row))
        else:
            print(one.name, *(f"{name} {value}" for name, value in row.items()), sep="  ")


if __name__ == "__main__":
    main()
