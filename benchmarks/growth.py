"""Does a build slow down as it grows, and what does the same command again cost?

Run as `python -m benchmarks.growth [--vois 1000]`: one phantom scan of five lesions
under many names (hard links), built by one worker, again (nothing to do), and by two.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.ours import RECIPE, RECIPE_FILE
from benchmarks.voi import call, last_line

LESIONS = 5


def many_scans(raw: Path, scans: int) -> None:
    """One phantom under `scans` names; hard links cost no disk."""
    call("benchmarks.phantom", "--root", raw, "--lesions", str(LESIONS))
    for folder in ("images", "masks"):
        first = raw / folder / "phantom_000.nii.gz"
        for number in range(1, scans):
            os.link(first, raw / folder / f"phantom_{number:03d}.nii.gz")
    (raw / RECIPE_FILE).write_text(RECIPE, encoding="utf-8")


def timed(raw: Path, out: Path, workers: int) -> None:
    """Build once in this process, and print one JSON line."""
    import uls_data

    ends: list[tuple[float, int]] = []
    start = time.perf_counter()

    def progress(_case: str, rows: list[dict[str, object]]) -> None:
        made = sum(row["status"] == "ok" for row in rows)
        ends.append((time.perf_counter() - start, made))

    report = uls_data.build(raw / RECIPE_FILE, raw, out, workers=workers, progress=progress)
    seconds = time.perf_counter() - start
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(who).ru_maxrss for who in whose) / 1024
    print(json.dumps({"seconds": seconds, "vois": report.ok, "ends": ends, "peak_mb": peak}))


def seconds_per_voi(ends: list[tuple[float, int]], low: int, high: int) -> float:
    """Slope of seconds against VOIs, fitted between two counts of VOIs."""
    times = np.array([when for when, _ in ends])
    counts = np.cumsum([made for _, made in ends])
    part = (counts >= low) & (counts <= high)
    return float(np.polyfit(counts[part], times[part], 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vois", type=int, default=1000)
    parser.add_argument("--one", nargs=3, metavar=("RAW", "OUT", "WORKERS"), help="one timed build")
    arguments = parser.parse_args()
    if arguments.one:
        timed(Path(arguments.one[0]), Path(arguments.one[1]), int(arguments.one[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder, "raw"), Path(folder, "out")
        many_scans(raw, arguments.vois // LESIONS)

        def run(workers: int) -> dict[str, object]:
            return last_line(call("benchmarks.growth", "--one", raw, out, str(workers)))

        first, again = run(1), run(1)
        shutil.rmtree(out)
        two = run(2)
    tenth = arguments.vois // 10
    early = seconds_per_voi(first["ends"], tenth, 4 * tenth)  # type: ignore[arg-type]
    late = seconds_per_voi(first["ends"], 7 * tenth, 10 * tenth)  # type: ignore[arg-type]
    count, seconds = arguments.vois, float(first["seconds"])  # type: ignore[arg-type]
    print(f"{count} VOIs, one worker: {seconds:.0f} s, {count / seconds:.2f} VOIs/s")
    print(f"  seconds a VOI from {tenth} to {4 * tenth}: {early:.4f}; from {7 * tenth} to", end=" ")
    print(f"{10 * tenth}: {late:.4f}; ratio {late / early:.3f}; peak {first['peak_mb']:.0f} MB")
    share = float(again["seconds"]) / seconds  # type: ignore[arg-type]
    print(f"  the same command again: {again['seconds']:.2f} s, {share:.2%} of the first run")
    faster = seconds / float(two["seconds"])  # type: ignore[arg-type]
    print(f"two workers: {count / float(two['seconds']):.2f} VOIs/s, {faster:.2f} times one worker")


if __name__ == "__main__":
    main()
