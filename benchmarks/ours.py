"""Our side of the comparison: `uls_data.build` on the benchmark's scans.

Run as `python -m benchmarks.ours --raw DIR --out DIR [--workers N]`; prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from importlib import import_module
from pathlib import Path

import uls_data

RECIPE_FILE = "phantom.yaml"
RECIPE = """\
schema_version: 1
source: phantom
recipe_version: 1
title: Benchmark phantoms
licence:
  name: CC0-1.0
  redistributable: true
  evidence: made by the benchmark itself
citation: none
access:
  - Made by benchmarks/phantom.py.
reader:
  name: volume_pairs
  layouts:
    - name: two_folders
      image: "images/{case}{ext}"
      mask: "masks/{case}{ext}"
instances: {rule: components, values: [1], connectivity: 6, keep: all}
minimum_size: {measure: inertia_major_vox, at_least: 5}
lesion_type: unknown
voi_name: "{case}_lesion_{lesion:02d}_sample_{sample}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    recipe = arguments.raw / RECIPE_FILE
    recipe.write_text(RECIPE, encoding="utf-8")
    # The package loads these on first use; imports are not timed, as on the other side.
    build = uls_data.build
    for module in ("isal.igzip", "pandas"):
        import_module(module)
    start = time.perf_counter()
    result = build(recipe, raw=arguments.raw, out=arguments.out, workers=arguments.workers)
    seconds = time.perf_counter() - start
    if result.failed or result.skipped:
        raise SystemExit(f"{result.failed} rows failed, {result.skipped} were skipped")
    # With workers in processes of their own the largest single process counts.
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(
        json.dumps(
            {"vois": result.ok, "seconds": round(seconds, 3), "peak_mb": round(peak / 1024, 1)}
        )
    )


if __name__ == "__main__":
    main()
