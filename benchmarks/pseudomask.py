"""Lesions a second of the 2D methods, against GrabCut on the whole slice as it was released.

Run as `python -m benchmarks.pseudomask [--slices 12] [--data DIR]`.

Real slices with human masks (an IBSI lung tumour and two sarcomas) on 512 x 512, with lines from
their masks. The released way is OpenCV's GrabCut on the whole slice, 25 iterations for each of
three windows. All run in one process, turn by turn on the same slice; ours with its crop, its
choice and its measures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np

from uls_data.measure.lines import Lines
from uls_data.pseudomask.grabcut import grabcut, seed_of, seeds, windows
from uls_data.pseudomask.jury import jury
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.prior import quarter_ellipses

SIDE = 512
ITERATIONS = 25
LESIONS = 33_060  # weak lesions of the challenge
WINDOW_HU = (-160.0, 240.0)
CASES = {
    "ibsi": (
        "ibsi-ct-phantom/nifti/image/phantom.nii.gz",
        "ibsi-ct-phantom/nifti/mask/mask.nii.gz",
    ),
    "STS_003": ("ibsi-sts/STS_003/CT_image.nii.gz", "ibsi-sts/STS_003/CT_mask.nii.gz"),
    "STS_050": ("ibsi-sts/STS_050/CT_image.nii.gz", "ibsi-sts/STS_050/CT_mask.nii.gz"),
}
DATA = os.environ.get("ULS_DATA_REAL", str(Path(__file__).resolve().parents[2] / "shared" / "data"))


def key_slices(data: Path, number: int) -> list[KeySlice]:
    """Evenly chosen slices of all cases, each in the middle of a slice of air."""
    found = []
    for case, files in CASES.items():
        hu, mask = (
            np.asarray(nibabel.as_closest_canonical(nibabel.load(data / file)).dataobj)
            for file in files
        )
        for z in np.flatnonzero((mask != 0).sum(axis=(0, 1)) >= 25).tolist():
            start = [(SIDE - size) // 2 for size in hu.shape[:2]]
            whole = np.full((SIDE, SIDE), -1000, dtype=np.int16)
            part = np.s_[start[0] : start[0] + hu.shape[0], start[1] : start[1] + hu.shape[1]]
            whole[part] = np.rint(hu[:, :, z])
            lines = Lines.from_mask(mask[:, :, z] != 0)
            if lines is not None:
                lines = lines.moved(*start)
                found.append(KeySlice(whole, lines, (0.8, 0.8), WINDOW_HU, 0.0, (case, z)))
    chosen = np.linspace(0, len(found) - 1, min(number, len(found))).round().astype(int)
    return [found[at] for at in chosen]


def released_way(key_slice: KeySlice) -> Any:
    """GrabCut on the whole slice under every window; the choice among them is not timed."""
    regions = seeds(key_slice, quarter_ellipses(key_slice).mask)
    found = []
    for name, window in windows(key_slice, regions).items():
        image = cv2.cvtColor(window.grey(key_slice.hu), cv2.COLOR_GRAY2BGR)
        models = np.zeros((2, 1, 65))
        cv2.setRNGSeed(seed_of(key_slice, name))
        mode = cv2.GC_INIT_WITH_MASK
        found.append(
            cv2.grabCut(image, regions.copy(), None, models[0], models[1], ITERATIONS, mode)[0]
        )
    return found


METHODS: dict[str, Callable[[KeySlice], Any]] = {
    "whole-slice GrabCut": released_way,
    "grabcut": grabcut,
    "jury": jury,
    "quarter_ellipses": quarter_ellipses,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--data", type=Path, default=Path(DATA), help="folder of the real data")
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"no real data at {arguments.data}; set ULS_DATA_REAL or --data")
    chosen = key_slices(arguments.data, arguments.slices)
    seconds: dict[str, list[float]] = {name: [] for name in METHODS}
    for method in METHODS.values():
        method(chosen[0])  # imports and weights
    for given in chosen:
        for name, method in METHODS.items():
            start = time.perf_counter()
            method(given)
            seconds[name].append(time.perf_counter() - start)
    long = [given.lines.long_vox for given in chosen]
    print(
        f"{len(chosen)} slices of {SIDE} x {SIDE}, long axis {min(long):.0f}-{max(long):.0f} px "
        f"(median {statistics.median(long):.0f}), OpenCV {cv2.__version__}, "
        f"{cv2.getNumThreads()} threads"
    )
    released = statistics.mean(seconds["whole-slice GrabCut"])
    for name, its in seconds.items():
        mean = statistics.mean(its)
        print(
            f"  {name:<20}{1 / mean:>9.2f} lesions/s, {1e3 * mean:>8.1f} ms per lesion "
            f"(median {1e3 * statistics.median(its):.1f}), {released / mean:>7.1f} times as fast, "
            f"{LESIONS * mean / 3600:>7.2f} h for {LESIONS:,}"
        )


if __name__ == "__main__":
    main()
