"""`python -m demo FOLDER`: made-up raw archives of every source, and their build.

What `make demo` runs. It writes FOLDER/raw (each source in its native layout,
with its native faults), FOLDER/vois (the build and its report), FOLDER/loop (the
model in the loop, where torch is) and FOLDER/release, and prints Table 1.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from demo.hospital import hospital_lines
from demo.loop import run_loop
from demo.sources import make_archives
from uls_data import build, release_build, release_verify, report
from uls_data.cli.stats import print_stats
from uls_data.manifest.query import query


def run(folder: Path, workers: int, seed: int, only: Sequence[str] | None = None) -> int:
    """Make the archives, build them all, and print what came of it.

    Returns
    -------
    int
        0 if exactly the cases failed that were made to fail, and the release is whole.
    """
    start = time.monotonic()
    archives = make_archives(folder / "raw", seed, only)
    print(f"Made {len(archives)} small raw archives in {folder / 'raw'}. Building them:")
    vois = folder / "vois"
    for source, raw in archives.items():
        own = raw / f"{source}.yaml"
        recipe = str(own) if own.is_file() else source
        built = build(recipe, raw, vois, workers=workers)
        print(f"  {source:20} {built.ok:3} VOIs, {built.skipped:2} skipped, {built.failed} failed")
    print("\nTable 1 of this build (made-up lesions; axes in pixels):")
    print_stats([vois], ("source", "layer"))
    failed = query(vois, 'status == "failed"', ["source", "case_id", "reason"])
    print("\nThe archives hold broken cases on purpose. Each is a row with a reason:")
    for row in failed.itertuples(index=False):
        print(f"  {row.source} {row.case_id}: {row.reason}")
    if "hospital" in archives:
        print("\nThe made-up hospital: sizes in reports, lines in an SR and a GSPS, three readers:")
        for line in hospital_lines(folder / "raw", vois):
            print(line)
    if find_spec("torch") is None:
        print("\nThe model in the loop is left out: it needs pip install 'uls-data[network]'")
    elif not only:
        print("\nThe model in the loop (paper, Figure 3), with a small network:")
        for line in run_loop(folder / "loop", workers, seed, print):
            print(line)
    recipes = [raw / f"{source}.yaml" for source, raw in archives.items()]
    page = report(vois).page
    packed = release_build(
        vois,
        folder / "release",
        "demo",
        local_only=True,
        recipes=[recipe for recipe in recipes if recipe.is_file()],
    )
    checked = release_verify(folder / "release")
    print(
        f"\nReleased ({packed.release_sha256[:16]}...) and verified: {checked.files} files, "
        f"{len(checked.findings)} of them not as released"
    )
    print(f"\nDone in {time.monotonic() - start:.0f} s. Look at:")
    print(f"  {page}   a page of every mask, outliers first")
    print(f"  {vois}/<source>/images and labels/annotated   VOIs, 256 x 256 x 128")
    tool = "uls-data" if shutil.which("uls-data") else Path(sys.executable).with_name("uls-data")
    print(f"  {tool} query {vois} 'status != \"ok\"' --columns source,case_id,reason,detail")
    print(f"  {folder}/loop/loop                            networks and 3D pseudo-masks, by round")
    print(f"  {folder}/release/README.md                    the data card of the release")
    print(f"  {tool} recipe list")
    as_expected = bool(only) or set(failed["reason"]) == _EXPECTED
    return 0 if as_expected and not checked.findings else 1


_EXPECTED = {
    *("truncated_file", "grid_mismatch", "image_missing", "mask_missing", "not_3d"),
    *("degenerate_lines", "key_slice_missing", "annotation_mismatch", "annotation_unreadable"),
}


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    return run(arguments.folder, arguments.workers, arguments.seed)


if __name__ == "__main__":
    sys.exit(main())
