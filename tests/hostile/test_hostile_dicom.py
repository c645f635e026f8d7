"""`find_series` and `read_series` on damaged, lying and malicious DICOM.

Every case is a small series that is damaged in one or two ways, as a function of a seed.
Only `CaseError` may come out, in bounded time and memory, and no free text of a header.
What is read must be what pydicom reads. The environment variable ULS_DATA_HOSTILE_DICOM
says how many cases there are (60).
"""

from __future__ import annotations

import os
import random
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from makers.dicom import file_bytes, positions_mm, slice_of
from makers.hostile.dicom import MARK, SYNTAXES, write_case
from makers.hostile.limits import at_most, peak_bytes

from uls_data.dicom.inventory import find_series
from uls_data.dicom.series import Series, SeriesPolicy, read_series, series_size
from uls_data.errors import CaseError
from uls_data.outcome import Flag, Reason
from uls_data.volumes.raw_root import RawRoot

CASES = int(os.environ.get("ULS_DATA_HOSTILE_DICOM", "60"))
PER_BATCH = 20
SECONDS = 10
MAXIMUM_GROWTH = 400_000_000


def read_until_pixels(path: Path) -> pydicom.FileDataset:
    """Data set as pydicom reads it, without what a damage put behind the pixels."""
    seen: list[int] = []

    def behind(tag: int, _vr: str | None, _length: int) -> bool:
        seen.append(tag)
        return 0x7FE00010 in seen[:-1]

    with path.open("rb") as file:
        return pydicom.filereader.read_partial(file, behind, force=True)


def independent(root: Path, files: tuple[Path, ...], series: Series) -> str:
    """What pydicom makes of the same files, where it can; says where the two differ."""
    slices = []
    for file in files:
        dataset = read_until_pixels(root / file)
        if dataset.get("HighBit", 0) != dataset.get("BitsStored", 0) - 1:
            return ""  # pydicom takes no notice of it
        cosines = np.reshape(np.array(dataset.ImageOrientationPatient, dtype=float), (2, 3))
        along = np.cross(*cosines) @ np.array(dataset.ImagePositionPatient, dtype=float)
        scale = (dataset.get("RescaleSlope"), dataset.get("RescaleIntercept"))
        slope, intercept = (
            float(d if v is None else v) for v, d in zip(scale, (1, 0), strict=True)
        )
        slices.append((along, dataset.pixel_array * slope + intercept))
    slices.sort(key=lambda pair: pair[0])
    theirs = np.stack([values for _, values in slices]).T
    volume = series.volume
    ours = volume.stored * np.float64(volume.slope) + volume.intercept
    if Flag.SLICES_REPAIRED in volume.flags:
        return ""
    same = theirs.shape == ours.shape and np.allclose(theirs, ours, rtol=1e-6)
    return "" if same else "wrong success: pydicom reads other values"


def problem_of(root: Path) -> str:
    """What is wrong with how one hostile root is read; empty where nothing is."""
    stored = root.parent / "cache.jsonl"
    found = find_series(RawRoot(root), cache=stored)
    if find_series(RawRoot(root), cache=stored) != found:
        return "the cache changes what is found"
    if MARK in repr(found) or (stored.exists() and MARK.encode() in stored.read_bytes()):
        return "the index shows free text"
    for series in found:
        policy = SeriesPolicy("first_instance_number", 0.1)
        for function in (read_series, series_size):
            try:
                options = (policy,) if function is read_series else ()
                result = function(series.files, root, *options)
            except CaseError as error:
                if MARK in error.detail or str(root) in error.detail or not error.detail:
                    return f"shows what it must not: {error.detail}"
                if error.reason is Reason.INTERNAL_ERROR:
                    return error.detail
                continue
            if MARK in repr(result):
                return "shows free text"
            if function is read_series:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        differs = independent(root, series.files, result)
                    except Exception:
                        continue  # pydicom refuses what can be read here
                if differs:
                    return differs
    # The files as a user may give them, whatever the index thinks of them.
    names = sorted(path.relative_to(root) for path in root.iterdir())
    try:
        read_series(names, root)
    except CaseError as error:
        if MARK in error.detail or str(root) in error.detail:
            return f"shows what it must not: {error.detail}"
    return ""


@pytest.fixture(scope="module")
def peak_before(tmp_path_factory: pytest.TempPathFactory) -> int:
    """Memory once everything is imported and every decoder was used."""
    for number, syntax in enumerate(SYNTAXES):
        root = tmp_path_factory.mktemp("good")
        for k, position in enumerate(positions_mm(2)):
            dataset = slice_of(np.zeros((40, 40), np.uint16), position, k)
            (root / f"{number}{k}.dcm").write_bytes(file_bytes(dataset, syntax))
        assert problem_of(root) == ""
    return peak_bytes()


@pytest.mark.parametrize("batch", range(-(-CASES // PER_BATCH)))
def test_batch(tmp_path: Path, batch: int, peak_before: int) -> None:
    problems = []
    for number in range(PER_BATCH):
        rng = random.Random(f"{batch} {number}")
        root = tmp_path / str(number) / "raw"
        root.mkdir(parents=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made_of = write_case(root, rng)
        try:
            with at_most(SECONDS, f"case {batch} {number} {made_of}"):
                problem = problem_of(root)
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            problems.append(f"case {batch} {number} {made_of}: {problem[:300]}")
        growth = peak_bytes() - peak_before
        assert growth < MAXIMUM_GROWTH, f"case {batch} {number} {made_of}: {growth:,} bytes more"
    assert not problems, "\n".join(problems)
