"""VOIs per second and peak memory, against MONAI's own transforms and against the codecs.

Run as `python -m benchmarks.voi [--lesions 1 5] [--repeat 3] [--seed 0] [--json]`.

Every measurement is a process of its own that times its work without imports.
This module must stay small in memory: Linux hands a process's peak on to the
children it starts, so scans are made in a process too.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

OURS, MONAI, MONAI_INDICES, FLOOR = "ours", "monai", "monai_indices", "decode_encode"
COMMANDS = {
    MONAI: ["benchmarks.monai_pipeline"],
    MONAI_INDICES: ["benchmarks.monai_pipeline", "--indices"],
    OURS: ["benchmarks.ours"],
    FLOOR: ["benchmarks.floor"],
}
TITLES = {
    MONAI: "MONAI",
    MONAI_INDICES: "MONAI, indices given",
    OURS: "uls-data",
    FLOOR: "decode + encode alone",
}
ROOT = Path(__file__).resolve().parents[1]


def call(*arguments: str | Path) -> str:
    """Run a module of this checkout; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def last_line(text: str) -> dict[str, Any]:
    """JSON object on the last line: libraries may print before it."""
    result: dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return result


def measure(name: str, raw: Path) -> dict[str, Any]:
    """One run of one contender, into a folder that is removed afterwards."""
    module, *options = COMMANDS[name]
    with tempfile.TemporaryDirectory(dir=raw.parent) as out:
        target = [] if name == FLOOR else ["--out", out]
        return last_line(call(module, "--raw", raw, *target, *options))


def compare(lesions: int, raw: Path, names: list[str], repeat: int) -> list[dict[str, Any]]:
    """Medians of every contender on one phantom, with ratios to ours."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(repeat):
        # Every other turn runs backwards, so that no contender always meets a warm cache.
        for name in names if turn % 2 == 0 else reversed(names):
            run = measure(name, raw)
            if run["vois"] != lesions:
                raise SystemExit(f"{name} wrote {run['vois']} VOIs of {lesions} lesions")
            runs[name].append(run)

    def median(name: str, field: str) -> float:
        return float(statistics.median(run[field] for run in runs[name]))

    rows = []
    for name in names:
        seconds = median(name, "seconds")
        row: dict[str, Any] = {
            "name": name,
            "scans": 1,
            "lesions": lesions,
            "runs": repeat,
            "seconds": round(seconds, 3),
            "fastest_s": min(run["seconds"] for run in runs[name]),
            "slowest_s": max(run["seconds"] for run in runs[name]),
            "vois_per_s": round(lesions / seconds, 3),
        }
        if name != FLOOR:
            row["peak_mb"] = round(median(name, "peak_mb"), 1)
        if OURS in names and name in (MONAI, MONAI_INDICES):
            row["ours_times_as_fast"] = round(seconds / median(OURS, "seconds"), 2)
            row["ours_share_of_peak"] = round(median(OURS, "peak_mb") / row["peak_mb"], 3)
        if name == FLOOR:
            row["decode_s"] = round(median(FLOOR, "decode_s"), 3)
            row["encode_s"] = round(median(FLOOR, "encode_s"), 3)
            if OURS in names:
                row["share_of_ours"] = round(seconds / median(OURS, "seconds"), 3)
        rows.append(row)
    return rows


def print_rows(rows: list[dict[str, Any]]) -> None:
    """One line of text a contender."""
    print(
        f"\n{'scans x lesions':<17}{'':<24}{'VOIs/s':>8}{'s':>8}{'(min-max)':>15}{'peak MB':>9}"
        f"{'ours: x speed':>15}{'x memory':>10}"
    )
    for row in rows:
        spread = f"({row['fastest_s']:.2f}-{row['slowest_s']:.2f})"
        line = (
            f"{row['scans']} x {row['lesions']:<13}{TITLES[row['name']]:<24}"
            f"{row['vois_per_s']:>8.2f}{row['seconds']:>8.2f}{spread:>15}"
        )
        line += f"{row['peak_mb']:>9.0f}" if "peak_mb" in row else f"{'-':>9}"
        if "ours_times_as_fast" in row:
            line += f"{row['ours_times_as_fast']:>15.2f}{row['ours_share_of_peak']:>10.2f}"
        if "share_of_ours" in row:
            line += f"   {row['share_of_ours']:.0%} of uls-data"
        print(line)


def print_codecs(codec: dict[str, Any]) -> None:
    """Sizes and speeds of the encoders on one VOI."""
    print(f"\none VOI, libdeflate level 1 against zlib {codec['zlib']} level 6")
    for part in ("image", "label"):
        fast, slow = codec[f"{part}_libdeflate_1_bytes"], codec[f"{part}_zlib_6_bytes"]
        fast_ms, slow_ms = codec[f"{part}_libdeflate_1_ms"], codec[f"{part}_zlib_6_ms"]
        print(
            f"  {part}: {fast:,} against {slow:,} bytes ({fast / slow:.3f}), "
            f"{fast_ms:.0f} against {slow_ms:.0f} ms ({slow_ms / fast_ms:.1f} times as fast)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lesions", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(COMMANDS),
        default=list(COMMANDS),
        metavar="NAME",
        help=f"contenders to run, of: {' '.join(COMMANDS)}",
    )
    arguments = parser.parse_args()
    machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
    if arguments.json:
        print(json.dumps({"name": "machine"} | machine), flush=True)
    else:
        print(f"{machine['cpus']} CPUs, Python {machine['python']}, one worker, ", end="")
        print(f"median of {arguments.repeat}, seed {arguments.seed}", flush=True)
    raw = Path()
    with tempfile.TemporaryDirectory() as folder:
        for lesions in arguments.lesions:
            raw = Path(folder) / f"lesions_{lesions}"
            call(
                "benchmarks.phantom",
                "--root",
                raw,
                "--lesions",
                str(lesions),
                "--seed",
                str(arguments.seed),
            )
            rows = compare(lesions, raw, arguments.only, arguments.repeat)
            if arguments.json:
                for row in rows:
                    print(json.dumps(row), flush=True)
            else:
                print_rows(rows)
        codec = last_line(call("benchmarks.floor", "--raw", raw, "--codecs"))
        if arguments.json:
            print(json.dumps({"name": "codecs"} | codec))
        else:
            print_codecs(codec)


if __name__ == "__main__":
    main()
