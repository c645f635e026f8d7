"""Series written and read again, for the tests of DICOM series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

from makers import dicom as dicom_maker
from makers.dicom import write_series
from uls_data.dicom.elements import Tag
from uls_data.dicom.series import Series, SeriesPolicy, read_series
from uls_data.errors import CaseError

SHAPE = (37, 35, 4)  # columns, rows, slices; JPEG 2000 takes no less than 32
VOLUME = np.random.default_rng(5).integers(0, 4000, SHAPE).astype(np.uint16)
EVERY = frozenset(Tag)
NATIVE = [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
SYNTAXES = [*NATIVE, uid.RLELossless, uid.JPEG2000Lossless]
KEEP_LOWER = SeriesPolicy(duplicate_positions="first_instance_number")
LIDC_UNEVEN = {f"LIDC-IDRI-{number}" for number in ("0123", "0267", "0514", "0672")}
REAL_SERIES = {
    "ibsi": "ibsi-ct-phantom/dicom/image",
    "jpeg2000": "totalsegmentator/example_ct_dicom",
    "liver": "dcmqi-liver/ct-3slice",
}


def read(folder: Path, policy: SeriesPolicy = SeriesPolicy()) -> Series:  # noqa: B008
    files = [path.relative_to(folder) for path in sorted(folder.rglob("*.dcm"), reverse=True)]
    return read_series(files, folder, policy)


def written(folder: Path, volume: NDArray[Any] = VOLUME, **options: Any) -> Series:
    write_series(folder, volume, **options)
    return read(folder)


def failure(folder: Path, policy: SeriesPolicy = SeriesPolicy()) -> CaseError:  # noqa: B008
    with pytest.raises(CaseError) as caught:
        read(folder, policy)
    assert str(folder) not in caught.value.detail
    return caught.value


def hounsfield(series: Series) -> NDArray[np.float64]:
    volume = series.volume
    return volume.stored * np.float64(volume.slope) + volume.intercept


def at(*where: int, **elements: Any) -> dicom_maker.Change:
    """Set elements of some slices, or of all."""

    def change(k: int, dataset: Dataset) -> None:
        if not where or k in where:
            for keyword, value in elements.items():
                setattr(dataset, keyword, value)

    return change


def without(keyword: str) -> dicom_maker.Change:
    return lambda _, dataset: dataset.pop(keyword, None) and None


def stored_as(dtype: str, bits: int, high: int | None = None) -> dicom_maker.Change:
    """Keep the values in some bits of each pixel, and fill the others with garbage."""
    high = bits - 1 if high is None else high

    def change(k: int, dataset: Dataset) -> None:
        kind = np.dtype(dtype)
        width = kind.itemsize * 8
        values = np.frombuffer(dataset.PixelData, np.int32).astype(np.int64)
        mask = ((1 << bits) - 1) << high + 1 - bits
        garbage = np.random.default_rng(k).integers(0, 1 << width, values.size)
        mixed = ((values << high + 1 - bits) & mask) | (garbage & ~mask)
        dataset.PixelData = (mixed & (1 << width) - 1).astype(f"u{kind.itemsize}").tobytes()
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = width, bits, high
        dataset.PixelRepresentation = int(kind.kind == "i")

    return change


def text_in(tag: int, text: bytes) -> dicom_maker.Change:
    return lambda _, dataset: dataset.add_new(tag, "LO", text.decode())
