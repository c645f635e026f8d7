"""What do two scans more cost, where 198 were built before?

Run as `python -m benchmarks.increment [--scans 200] [--more 2]`: scans with one lesion each, small
ones as pairs of volumes and as DICOM series with mask volumes, and one of a usual size under many
names (hard links). The whole is the build of the first ones,
scaled to all of them. Every build is a process of its own; its seconds are given with and without
the start of Python and the import of libraries, which an increment pays in full, on the clock and
of the processor (which other programs at work slow down less). The aim is 1.5 % of the whole for
scans of the usual size, and 0.6 s of the processor for nothing to do, with the start.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.dicom import header
from benchmarks.ours import RECIPE
from benchmarks.voi import call, last_line

SIDE, SLICES = 96, 40
DICOM_READER = """\
reader:
  name: dicom_masks
  mask: "masks/{case}.nii.gz"
  case: 'scan_\\d+'
instances:"""
LAYOUTS = ("volumes", "dicom", "usual size")


def voxels(number: int) -> np.ndarray:
    """Noise, which differs from scan to scan."""
    rng = np.random.default_rng(number)
    noise = rng.normal(40, 20, (SIDE, SIDE, SLICES)).astype(np.int16)
    noise[: SIDE // 8] = -1000
    return noise


def write_scans(raw: Path, layout: str, numbers: range) -> None:
    """Write scans of a layout, and the ball in each that is its lesion."""
    import nibabel as nib

    if layout == "usual size":
        link_phantom(raw, numbers)
        return
    grid = np.indices((SIDE, SIDE, SLICES), dtype=np.float32)
    at = np.array([SIDE / 2, SIDE / 2, SLICES / 2]).reshape(3, 1, 1, 1)
    mask = (((grid - at) ** 2).sum(0) < 8**2).astype(np.uint8)
    # DICOM counts to the left and the back, and the phantom's header places it.
    lps = np.array([[0.75, 0, 0, -200], [0, 0.75, 0, -180], [0, 0, -0.75, 300], [0, 0, 0, 1]])
    affine = np.diag([-1, -1, 1, 1]) @ lps if layout == "dicom" else np.diag([0.75, 0.75, 0.75, 1])
    for folder in ("images", "masks"):
        (raw / folder).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        name = f"scan_{number:04d}"
        nib.save(nib.Nifti1Image(mask, affine), raw / "masks" / f"{name}.nii.gz")
        if layout == "volumes":
            nib.save(nib.Nifti1Image(voxels(number), affine), raw / "images" / f"{name}.nii.gz")
        else:
            write_series(raw / "images" / name, number)


def link_phantom(raw: Path, numbers: range) -> None:
    """Give one phantom of 512 x 512 x 160 voxels these numbers."""
    if not (raw / "masks").exists():
        call("benchmarks.phantom", "--root", raw, "--lesions", "1")
    for number in numbers:
        for folder in ("images", "masks"):
            name = raw / folder / f"phantom_{number:03d}.nii.gz"
            if not name.exists():
                os.link(raw / folder / "phantom_000.nii.gz", name)


def write_series(folder: Path, number: int) -> None:
    """Write one DICOM series."""
    folder.mkdir()
    scan = voxels(number)
    for at in range(SLICES):
        dataset = header(at)
        dataset.SeriesInstanceUID = f"1.2.826.0.3.{number}"
        dataset.SOPInstanceUID = f"1.2.826.0.4.{number}.{at}"
        dataset.FrameOfReferenceUID = f"1.2.826.0.5.{number}"
        dataset.Rows = dataset.Columns = SIDE
        dataset.PixelData = (scan[:, :, at].T + 1024).astype(np.uint16).tobytes()
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{at:03d}.dcm", enforce_file_format=True)


def timed(raw: Path, out: Path) -> None:
    """Build once in this process, and print one JSON line."""
    import uls_data

    build = uls_data.build
    start, busy = time.perf_counter(), time.process_time()
    report = build(raw / "phantom.yaml", raw, out)
    inside = time.perf_counter() - start, time.process_time() - busy
    if report.failed or report.skipped:
        raise SystemExit(f"{report.failed} rows failed, {report.skipped} were skipped")
    # With the start: the processor's time of the whole process.
    print(json.dumps({"seconds": [*inside, time.process_time()]}))


def run(raw: Path, out: Path) -> list[float]:
    """Seconds of a build: clock, processor; both again with the start of its process."""
    start = time.perf_counter()
    clock, busy, busy_in_all = last_line(call("benchmarks.increment", "--one", raw, out))["seconds"]
    return [clock, busy, time.perf_counter() - start, busy_in_all]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--more", type=int, default=2)
    parser.add_argument("--layout", choices=LAYOUTS, action="append")
    parser.add_argument("--keep", type=Path, help="folder that stays, to look at")
    parser.add_argument("--one", nargs=2, metavar=("RAW", "OUT"), help="one timed build")
    arguments = parser.parse_args()
    if arguments.one:
        timed(*map(Path, arguments.one))
        return
    for layout in arguments.layout or LAYOUTS:
        with tempfile.TemporaryDirectory() as temporary:
            folder = (arguments.keep or Path(temporary)) / layout
            measure(folder, layout, arguments.scans, arguments.more)


def measure(folder: Path, layout: str, scans: int, more: int) -> None:
    """Print what the first scans took, the further ones, and nothing at all."""
    raw, out = folder / "raw", folder / "out"
    first = scans - more
    write_scans(raw, layout, range(first))
    text = RECIPE
    if layout == "dicom":
        begin, end = text.index("reader:"), text.index("instances:")
        text = text[:begin] + DICOM_READER + text[end + len("instances:") :]
    (raw / "phantom.yaml").write_text(text, encoding="utf-8")
    whole = [seconds / first * scans for seconds in run(raw, out)]
    nothing = run(raw, out)
    write_scans(raw, layout, range(first, scans))
    added = run(raw, out)
    shape = "512 x 512 x 160" if layout == "usual size" else f"{SIDE} x {SIDE} x {SLICES}"
    print(f"{layout}: {scans} scans of {shape} voxels, of which {more} came last")
    for at, what in enumerate(
        (
            "on the clock",
            "of the processor",
            "on the clock, with the start",
            "of the processor, too",
        )
    ):
        print(
            f"  {what}: whole {whole[at]:.1f} s; increment {added[at]:.2f} s, "
            f"{added[at] / whole[at]:.2%}; nothing to do {nothing[at]:.2f} s, "
            f"{nothing[at] / whole[at]:.2%}"
        )


if __name__ == "__main__":
    main()
