"""Made-up DICOM: CT series, segmentations and structure sets as scanners and tools write them."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    RTStructureSetStorage,
    SegmentationStorage,
    generate_uid,
)

from demo.files import write
from demo.phantom import Affine, store

# Text that identifies somebody in real headers: no output may hold any of it.
PRIVATE = "Nobody^Made-Up"
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_INTERCEPT = -1024


def uid_of(*name: object) -> str:
    """Return a UID that is a function of a name alone."""
    return str(generate_uid(entropy_srcs=[str(part) for part in name]))


def write_series(
    folder: Path,
    ct_hu: NDArray[np.int16],
    affine_ras: Affine,
    series: str,
    patient: str,
    names: Sequence[str] | None = None,
    number: int | None = None,
) -> list[str]:
    """Write one CT series, a file a slice, feet last in file order as scanners number them.

    Parameters
    ----------
    ct_hu : ndarray of int16, shape (x, y, z), RAS
    affine_ras : ndarray, shape (4, 4)
    series : str
        Name from which all UIDs are derived.
    patient : str
        PatientID of the public collection.
    names : sequence of str, optional
        File names by ascending InstanceNumber; `1-001.dcm` and so on by default.
    number : int, optional
        SeriesNumber.

    Returns
    -------
    list of str
        SOPInstanceUIDs by slice, from the lowest z.
    """
    stored, affine = store(ct_hu, affine_ras, "LPS")
    lps = _LPS @ affine
    count = stored.shape[2]
    uids = [uid_of(series, "slice", at) for at in range(count)]
    for at in range(count):
        instance = count - at
        data = start(CTImageStorage, uids[at], series, patient, "CT")
        data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.SeriesInstanceUID = uid_of(series)
        if number is not None:
            data.SeriesNumber = number
        data.InstanceNumber = instance
        data.ImagePositionPatient = [_ds(v) for v in (lps @ [0, 0, at, 1])[:3]]
        directions = lps[:3, :2] / np.linalg.norm(lps[:3, :2], axis=0)
        data.ImageOrientationPatient = [_ds(v) for v in directions.T.ravel()]
        data.PixelSpacing = [_ds(np.linalg.norm(lps[:3, axis])) for axis in (1, 0)]
        data.SliceThickness = "9.9"  # it is not a distance between slices, and nobody may think so
        data.Columns, data.Rows = stored.shape[:2]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.PixelRepresentation = 1
        data.RescaleIntercept, data.RescaleSlope = _INTERCEPT, 1
        pixels = np.ascontiguousarray(stored[:, :, at].T) - np.int16(_INTERCEPT)
        data.PixelData = pixels.astype("<i2").tobytes()
        name = names[instance - 1] if names is not None else f"1-{instance:03d}.dcm"
        write(folder / name, bytes_of(data))
    return uids


def write_localizer(folder: Path, series: str, patient: str) -> None:
    """Write the scout view that scanners put beside a series."""
    flat = np.zeros((8, 8, 1), dtype=np.int16)
    write_series(folder, flat, np.diag([1.0, 1.0, 1.0, 1.0]), f"{series} scout", patient)
    path = next(folder.glob("*.dcm"))
    data = pydicom.dcmread(path)
    data.Modality = "DX"
    write(path, bytes_of(data))


def write_seg(
    path: Path,
    masks: Sequence[NDArray[np.bool_]],
    affine_ras: Affine,
    series: str,
    uids: Sequence[str],
    patient: str,
    made_by: str = "",
) -> None:
    """Write a binary DICOM-SEG of a series: a segment a mask, empty frames left out.

    Parameters
    ----------
    made_by : str
        Tells the objects of several readers apart.
    """
    names = (series, "seg", made_by) if made_by else (series, "seg")
    data = start(SegmentationStorage, uid_of(*names), series, patient, "SEG")
    data.SeriesInstanceUID = uid_of(series, f"seg series{made_by}")
    data.SeriesDescription = "Lymph node segmentations"
    frames, groups = [], []
    for number, mask in enumerate(masks, start=1):
        stored, affine = store(mask.astype(np.uint8), affine_ras, "LPS")
        lps = _LPS @ affine
        for at in np.flatnonzero(stored.any(axis=(0, 1))):
            frames.append(stored[:, :, at].T)
            frame, plane, identity = Dataset(), Dataset(), Dataset()
            plane.ImagePositionPatient = [_ds(v) for v in (lps @ [0, 0, at, 1])[:3]]
            identity.ReferencedSegmentNumber = number
            frame.PlanePositionSequence = [plane]
            frame.SegmentIdentificationSequence = [identity]
            groups.append(frame)
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [_ds(abs(affine_ras[1, 1])), _ds(abs(affine_ras[0, 0]))]
    measures.SliceThickness = "9.9"
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = groups
    referred, instances = Dataset(), []
    for uid in uids:
        instance = Dataset()
        instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = CTImageStorage, uid
        instances.append(instance)
    referred.SeriesInstanceUID = uid_of(series)
    referred.ReferencedInstanceSequence = instances
    data.ReferencedSeriesSequence = [referred]
    data.SegmentSequence = [_segment(number) for number in range(1, len(masks) + 1)]
    data.SegmentationType = "BINARY"
    data.Rows, data.Columns = frames[0].shape
    data.NumberOfFrames = len(frames)
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 1
    data.HighBit = data.PixelRepresentation = 0
    packed = np.packbits(np.stack(frames).ravel(), bitorder="little").tobytes()
    data.PixelData = packed + b"\0" * (len(packed) % 2)
    write(path, bytes_of(data))


def write_rtstruct(
    path: Path,
    contours: Sequence[tuple[str, NDArray[np.float64]]],
    series: str,
    patient: str,
    roi: str = "GTV-1",
) -> None:
    """Write a structure set with one ROI.

    Parameters
    ----------
    contours : sequence of (SOPInstanceUID, points)
        Points of shape (n, 3), LPS mm, of one closed contour on one slice.
    roi : str
        Its name.
    """
    data = start(RTStructureSetStorage, uid_of(series, "rtstruct"), series, patient, "RTSTRUCT")
    data.SeriesInstanceUID = uid_of(series, "rtstruct series")
    data.StructureSetLabel = "made up"
    frame, study, referred = Dataset(), Dataset(), Dataset()
    referred.SeriesInstanceUID = uid_of(series)
    images = []
    for uid in sorted({uid for uid, _ in contours}):
        image = Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, uid
        images.append(image)
    referred.ContourImageSequence = images
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = uid_of(series, "study")
    study.RTReferencedSeriesSequence = [referred]
    frame.FrameOfReferenceUID = uid_of(series, "frame")
    frame.RTReferencedStudySequence = [study]
    data.ReferencedFrameOfReferenceSequence = [frame]
    region, drawn = Dataset(), Dataset()
    region.ROINumber, region.ROIName = 1, roi
    region.ReferencedFrameOfReferenceUID = uid_of(series, "frame")
    region.ROIGenerationAlgorithm = "MANUAL"
    data.StructureSetROISequence = [region]
    drawn.ReferencedROINumber = 1
    items = []
    for uid, points in contours:
        item, image = Dataset(), Dataset()
        image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, uid
        item.ContourImageSequence = [image]
        item.ContourGeometricType = "CLOSED_PLANAR"
        item.NumberOfContourPoints = len(points)
        item.ContourData = [_ds(v) for v in points.ravel()]
        items.append(item)
    drawn.ContourSequence = items
    data.ROIContourSequence = [drawn]
    write(path, bytes_of(data))


def _segment(number: int) -> Dataset:
    segment, category, kind = Dataset(), Dataset(), Dataset()
    category.CodeValue, category.CodingSchemeDesignator = "49755003", "SCT"
    category.CodeMeaning = "Morphologically Altered Structure"
    kind.CodeValue, kind.CodingSchemeDesignator = "52988006", "SCT"
    kind.CodeMeaning = "Lesion"
    segment.SegmentNumber, segment.SegmentLabel = number, "lesion"
    segment.SegmentAlgorithmType = "MANUAL"
    segment.SegmentedPropertyCategoryCodeSequence = [category]
    segment.SegmentedPropertyTypeCodeSequence = [kind]
    return segment


def start(sop_class: str, uid: str, series: str, patient: str, modality: str) -> Dataset:
    """Header that all objects of a study share, with the private text that real ones hold."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    data.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = sop_class, uid
    data.StudyInstanceUID = uid_of(series, "study")
    data.FrameOfReferenceUID = uid_of(series, "frame")
    data.Modality, data.PatientID = modality, patient
    data.PatientName = data.ReferringPhysicianName = data.InstitutionName = PRIVATE
    data.StudyDate, data.PatientBirthDate = "20000101", "19000101"
    data.AccessionNumber = PRIVATE[:16]
    return data


def _ds(value: Any) -> str:
    """Return a number as a decimal string of at most 16 characters."""
    return f"{float(value):.10g}"


def bytes_of(data: Dataset) -> bytes:
    """Return the bytes of a DICOM file."""
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()
