"""Seconds and memory to find and read a DICOM series, against SimpleITK (GDCM).

Run as `python -m benchmarks.dicom [--slices 600] [--repeat 5] [--files 20000]`.

Both sides start from a folder: ours with `find_series` and `read_series`, theirs with
GetGDCMSeriesIDs, GetGDCMSeriesFileNames and Execute. Every measurement is a process of its
own, imports not timed, the files in the page cache. Ours hashes every file, too. The last
part times `find_series` alone, without and with its cache, on many small files.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.voi import call, last_line

SIDE = 512
STUDY, SERIES, FRAME = "1.2.826.0.1.1", "1.2.826.0.1.2", "1.2.826.0.1.3"
OURS, THEIRS, FIND = "uls-data", "SimpleITK", "find"
# As many elements as the header of a real slice has.
TEXTS = {
    "DA": ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "PatientBirthDate"),
    "TM": ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime"),
    "AS": ("PatientAge",),
    "LO": (
        *("AccessionNumber", "Manufacturer", "InstitutionName", "StationName", "ProtocolName"),
        *("StudyDescription", "SeriesDescription", "ManufacturerModelName", "ContrastBolusAgent"),
        *("SoftwareVersions", "ConvolutionKernel", "StudyID", "PositionReferenceIndicator"),
    ),
    "DS": (
        *("KVP", "DataCollectionDiameter", "ReconstructionDiameter", "DistanceSourceToDetector"),
        *("DistanceSourceToPatient", "GantryDetectorTilt", "TableHeight", "GeneratorPower"),
        *("SliceThickness", "ExposureTime", "XRayTubeCurrent", "Exposure", "SeriesNumber"),
    ),
}
VALUES = {"DA": "20200101", "TM": "120000", "AS": "060Y", "LO": "made up", "DS": 5}
PRIVATE = 50


def header(number: int) -> Any:
    """Data set of one made-up slice, without its pixels."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    dataset = Dataset()
    for kind, keywords in TEXTS.items():
        for keyword in keywords:
            setattr(dataset, keyword, VALUES[kind])
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"1.2.826.0.2.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.FrameOfReferenceUID = FRAME
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientID, dataset.PatientName = "MADE-UP", "Made^Up"
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [-200.0, -180.0, 300.0 - 0.75 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [0.75, 0.75]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    private = dataset.private_block(0x0019, "MADE-UP", create=True)
    for element in range(PRIVATE):
        private.add_new(element, "LO", "a private value")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def write_series(folder: Path, slices: int, side: int) -> None:
    """Slices of noise; file names run against positions."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for number in range(slices):
        dataset = header(number)
        dataset.Rows = dataset.Columns = side
        dataset.PixelData = rng.integers(0, 3000, (side, side), dtype=np.uint16).tobytes()
        dataset.save_as(folder / f"IM{number:06d}", enforce_file_format=True)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ours(folder: Path) -> int:
    from uls_data.dicom.inventory import find_series
    from uls_data.dicom.series import read_series
    from uls_data.volumes.raw_root import RawRoot

    (series,) = find_series(RawRoot(folder))
    return int(read_series(series.files, folder).volume.stored.size)


def theirs(folder: Path) -> int:
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    (series,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
    return int(reader.Execute().GetNumberOfPixels())


def find(folder: Path) -> dict[str, float]:
    """Microseconds a file of `find_series`: all opened, then all known to the cache."""
    from uls_data.dicom.inventory import find_series
    from uls_data.volumes.raw_root import RawRoot

    result = {}
    with tempfile.TemporaryDirectory() as elsewhere:
        cache = Path(elsewhere, "cache.jsonl")
        for name, given in (("opened", None), ("writing_cache", cache), ("from_cache", cache)):
            start = time.perf_counter()
            files = sum(len(series.files) for series in find_series(RawRoot(folder), cache=given))
            result[name] = round(1e6 * (time.perf_counter() - start) / files, 1)
    return result


def measure(name: str, folder: Path) -> dict[str, Any]:
    """One measurement, in this process."""
    import SimpleITK  # noqa: F401

    if name == FIND:
        return find(folder)
    base = peak_mib()
    start = time.perf_counter()
    voxels = {OURS: ours, THEIRS: theirs}[name](folder)
    seconds = time.perf_counter() - start
    return {"voxels": voxels, "seconds": seconds, "peak_mib": peak_mib() - base}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=600)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "DIR"), help="one measurement")
    parser.add_argument("--write", nargs=3, metavar=("DIR", "SLICES", "SIDE"), help="made-up files")
    arguments = parser.parse_args()
    if arguments.write:
        folder, slices, side = arguments.write
        write_series(Path(folder), int(slices), int(side))
        return
    if arguments.one:
        print(json.dumps(measure(arguments.one[0], Path(arguments.one[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        series, many = Path(folder, "series"), Path(folder, "many")
        call("benchmarks.dicom", "--write", series, str(arguments.slices), str(SIDE))
        runs: dict[str, list[dict[str, Any]]] = {OURS: [], THEIRS: []}
        for turn in range(arguments.repeat + 1):
            for name in (OURS, THEIRS) if turn % 2 else (THEIRS, OURS):
                run = last_line(call("benchmarks.dicom", "--one", name, series))
                if turn:  # the first one only warms the cache
                    runs[name].append(run)
        call("benchmarks.dicom", "--write", many, str(arguments.files), "16")
        found = last_line(call("benchmarks.dicom", "--one", FIND, many))
    decoded = arguments.slices * SIDE * SIDE * 2 / (1 << 20)
    print(f"{SIDE} x {SIDE} x {arguments.slices} uint16 ({decoded:.0f} MiB), found and read")
    seconds = {}
    for name, its in runs.items():
        times = [run["seconds"] for run in its]
        seconds[name] = statistics.median(times)
        peak = statistics.median(run["peak_mib"] for run in its)
        print(
            f"  {name:<10}{seconds[name]:>7.2f} s ({min(times):.2f}-{max(times):.2f}), peak "
            f"{peak:.0f} MiB above the start, {peak / decoded:.2f} times the volume"
        )
    print(f"  ours takes {seconds[OURS] / seconds[THEIRS]:.2f} times their time")
    print(
        f"find_series on {arguments.files:,} files: {found['opened']:.0f} us a file opened, "
        f"{found['writing_cache']:.0f} with a cache to write, {found['from_cache']:.0f} from it"
    )


if __name__ == "__main__":
    main()
