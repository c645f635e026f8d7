"""Made-up but genuine DICOM: CT slices and series, written by pydicom alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian

STUDY, SERIES, FRAME = "1.2.826.0.1.10", "1.2.826.0.1.20", "1.2.826.0.1.30"
PATIENT_ID = "MADE-UP-0001"
# Directions of a row and of a column of an axial slice, LPS.
AXIAL = np.eye(3)[:2]
SPACING_MM = (0.5, 0.75)  # between rows, between columns: never exchanged unnoticed
STEP_MM = 2.5
FIRST_MM = (-40.0, -30.0, -100.0)

Change = Callable[[int, Dataset], None]


def slice_of(pixels: NDArray[Any], position_mm: Iterable[float], number: int = 1) -> Dataset:
    """Data set of one CT slice.

    Parameters
    ----------
    pixels : ndarray, shape (rows, columns), integer
    position_mm : 3 numbers
        LPS, centre of the first pixel.
    number : int
        InstanceNumber, and the end of the SOPInstanceUID.
    """
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"1.2.826.0.2.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.FrameOfReferenceUID = FRAME
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientID, dataset.PatientName = PATIENT_ID, "Made^Up"
    dataset.InstanceNumber = number
    dataset.SliceThickness = 9  # true of no series here: nobody may use it
    dataset.ImagePositionPatient = [float(f"{value:.12g}") for value in position_mm]
    dataset.ImageOrientationPatient = AXIAL.ravel().tolist()
    dataset.PixelSpacing = list(SPACING_MM)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    bits = pixels.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def file_bytes(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """File of a data set with native little-endian pixels, in any transfer syntax."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        if syntax == ExplicitVRBigEndian:
            words = np.frombuffer(dataset.PixelData, f"u{dataset.BitsAllocated // 8}")
            dataset.PixelData = words.byteswap().tobytes()
        elif UID(syntax).is_encapsulated and dataset["PixelData"].VR != "OB":
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.compress(syntax, generate_instance_uid=False)
        buffer = BytesIO()
        dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def encapsulated(dataset: Dataset, frame: bytes) -> Dataset:
    """Let a data set hold a given codestream."""
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


def positions_mm(count: int, step_mm: float = STEP_MM) -> list[NDArray[np.float64]]:
    """Positions of axial slices from foot to head."""
    return [np.array([*FIRST_MM[:2], FIRST_MM[2] + k * step_mm]) for k in range(count)]


def write_series(
    folder: Path,
    volume: NDArray[Any],
    *,
    change: Change = lambda _, __: None,
    at_mm: list[NDArray[np.float64]] | None = None,
    syntax: str = ExplicitVRLittleEndian,
    suffix: str = ".dcm",
) -> list[Path]:
    """Write a series; returns its files by name, relative to the folder.

    Parameters
    ----------
    volume : ndarray, shape (columns, rows, slices), integer
        Stored values; slice k lies at `at_mm[k]`, or STEP_MM above the one before.
    change : callable
        Gets the number and the data set of each slice before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for k, position in enumerate(at_mm or positions_mm(volume.shape[2])):
        # Instance numbers and names run from head to foot, against the positions.
        number = volume.shape[2] - k
        dataset = slice_of(np.ascontiguousarray(volume[:, :, k].T), position, number)
        change(k, dataset)
        names.append(Path(f"{number:04d}{suffix}"))
        (folder / names[-1]).write_bytes(file_bytes(dataset, syntax))
    return sorted(names)


def put(path: Path, data: bytes) -> None:
    """Write a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def one_file(number: int = 1, **elements: Any) -> bytes:
    """File of one slice of zeros, with some elements set."""
    dataset = slice_of(np.zeros((35, 37), np.uint16), (0, 0, number), number)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return file_bytes(dataset)
