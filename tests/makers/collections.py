"""Made-up archives of public DICOM collections, in folders as `idc download` makes them.

A table says what each collection holds: which objects, called what, with which structures. Images
are 32 x 32 x 8 voxels; segmentations are written by highdicom, structure sets by pydicom.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    RTStructureSetStorage,
    generate_uid,
)

from demo.outline import traced

PRIVATE = "Nobody^Made-Up"
SHAPE = (32, 32, 8)
_STEP_MM = (1.0, 1.0, 2.0)
_CORNER_MM = (-15.0, 20.0, -300.0)
_CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}
# Balls, by centre and radius in voxels; heights are half of it, as slices are twice as far apart.
_BALLS = {
    "a": ((8, 9, 3), 5.0),
    "b": ((22, 10, 4), 4.5),
    "c": ((15, 24, 4), 5.0),
    "a again": ((9, 9, 3), 5.0),
    "small": ((28, 28, 2), 1.0),
    "organ": ((16, 16, 4), 11.0),
    "nothing": ((0, 0, 0), 0.0),
    "above": ((8, 9, 9), 5.0),  # with slices that the CT does not have
}


@dataclass(frozen=True)
class Seg:
    """A segmentation: its SeriesDescription, a ball a segment, and what it was drawn on."""

    description: str
    segments: Mapping[str, str]
    on: str = "ct"
    codes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rt:
    """A structure set: a ball, or a `point in` one, a ROI."""

    description: str
    rois: Mapping[str, str]
    on: str = "ct"
    frame_of: str = ""


@dataclass(frozen=True)
class Study:
    """A study: its patient, names of its series by modality, and its objects."""

    patient: str
    objects: Sequence[Seg | Rt] = ()
    series: Mapping[str, str] = field(default_factory=lambda: {"ct": "CT"})
    collection: str = ""
    name: str = "first"
    day: str = "19591004"


def uid(*name: str) -> str:
    return str(generate_uid(entropy_srcs=list(name)))


def ball(name: str, shape: Sequence[int] = SHAPE) -> NDArray[np.bool_]:
    """Mask of a ball, by column, row and slice."""
    centre, radius = _BALLS[name]
    at = np.indices(shape).reshape(3, -1).T - np.array(centre)
    inside = ((at * (1, 1, 2)) ** 2).sum(axis=1) <= radius**2
    return inside.reshape(shape) & (radius > 0)


def write_collection(root: Path, collection: str, studies: Sequence[Study]) -> None:
    """Write `collection/PatientID/StudyInstanceUID/Modality_SeriesInstanceUID/*.dcm`."""
    for study in studies:
        folder = root / (study.collection or collection) / study.patient
        folder /= uid(study.patient, study.name)
        images = {}
        for name, kind in study.series.items():
            modality, _, twice = kind.partition(" ")
            images[name] = _images(study, name, modality)
            # Two phases in one series: every position twice.
            later = _images(study, name, modality, phase="later ") if twice else []
            if later:
                images[f"{name} later"] = later
            _save(folder, images[name] + later)
        for number, one in enumerate(study.objects):
            if isinstance(one, Seg):
                _save(folder, [_segmentation(study, one, images, number)])
            else:
                _save(folder, [_structure_set(study, one, images, number)])


def _save(folder: Path, found: Sequence[Dataset]) -> None:
    first = found[0]
    to = folder / f"{first.Modality}_{first.SeriesInstanceUID}"
    to.mkdir(parents=True)
    for ds in found:
        ds.save_as(to / f"{ds.SOPInstanceUID}.dcm", enforce_file_format=True)


def _start(study: Study, sop_class: str, *name: str) -> Dataset:
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid(study.patient, study.name, *name, "sop")
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = PRIVATE, study.patient, "19010203"
    ds.PatientSex, ds.AccessionNumber, ds.StudyID = "O", PRIVATE[:16], ""
    ds.StudyInstanceUID = uid(study.patient, study.name)
    ds.StudyDate, ds.StudyTime, ds.ReferringPhysicianName = study.day, "101112", PRIVATE
    ds.SeriesInstanceUID = uid(study.patient, study.name, *name[:1])
    ds.SeriesNumber = 1
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def _images(
    study: Study, name: str, modality: str, slices: int = SHAPE[2], phase: str = ""
) -> list[Dataset]:
    """Slices of a series from the feet up; PET has pixels twice as large, and fewer."""
    coarse = 2 if modality == "PT" else 1
    columns, rows = SHAPE[0] // coarse, SHAPE[1] // coarse
    hu = np.full((columns * coarse, rows * coarse, slices), -1000, dtype=np.int16)
    hu[2:-2, 2:-2] = 40
    hu[ball("organ", hu.shape)] = 60
    for at, one in enumerate(("a", "b", "c")):
        hu[ball(one, hu.shape)] = 100 + at
    found = []
    for k in range(slices):
        ds = _start(study, _CLASSES[modality], name, f"{phase}{k}")
        ds.Modality, ds.InstanceNumber = modality, slices - k
        ds.FrameOfReferenceUID = uid(study.patient, study.name, "frame", name[:2])
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        x, y, z = _CORNER_MM
        ds.ImagePositionPatient = [x, y, z + k * _STEP_MM[2]]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [coarse * _STEP_MM[1], coarse * _STEP_MM[0]]
        ds.SliceThickness = 3.0  # no distance of slices
        ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, 1
        ds.PhotometricInterpretation = "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 1
        ds.RescaleIntercept, ds.RescaleSlope = -1024, 1
        pixels = hu[::coarse, ::coarse, k].T + np.int16(1024)
        ds.PixelData = np.ascontiguousarray(pixels).astype("<i2").tobytes()
        found.append(ds)
    return found


def _segmentation(
    study: Study, seg: Seg, images: Mapping[str, list[Dataset]], number: int
) -> Dataset:
    from highdicom import AlgorithmIdentificationSequence as Algorithm
    from highdicom import seg as written
    from pydicom.sr.codedict import Code, codes

    source = images[seg.on]
    shape = (int(source[0].Columns), int(source[0].Rows), len(source))
    if "above" in seg.segments.values():
        source = _images(study, seg.on, study.series[seg.on], slices=12)
        shape = (*shape[:2], 12)
    coarse = SHAPE[0] // shape[0]
    whole = (shape[0] * coarse, shape[1] * coarse, shape[2])
    masks = [ball(one, whole)[::coarse, ::coarse] for one in seg.segments.values()]
    described = []
    for at, label in enumerate(seg.segments, start=1):
        region = seg.codes.get(label)
        algorithm = Algorithm("none", codes.DCM.ArtificialIntelligence, "0")
        described.append(
            written.SegmentDescription(
                at,
                label,
                codes.SCT.MorphologicallyAbnormalStructure,
                codes.SCT.Mass,
                written.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
                algorithm,
                anatomic_regions=[Code(region, "SCT", PRIVATE)] if region else None,
            )
        )
    name = (study.patient, study.name, seg.description, str(number))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return written.Segmentation(
            source,
            np.stack([mask.transpose(2, 1, 0) for mask in masks], axis=-1).astype(np.uint8),
            written.SegmentationTypeValues.BINARY,
            described,
            series_instance_uid=uid(*name),
            series_number=2,
            sop_instance_uid=uid(*name, "sop"),
            instance_number=1,
            manufacturer="none",
            manufacturer_model_name="none",
            software_versions="0",
            device_serial_number="0",
            series_description=seg.description or None,
        )


def _structure_set(
    study: Study, rt: Rt, images: Mapping[str, list[Dataset]], number: int
) -> Dataset:
    source = images[rt.on]
    ds = _start(study, RTStructureSetStorage, f"{rt.description}{number}")
    ds.Modality, ds.StructureSetLabel = "RTSTRUCT", "made up"
    if rt.description:
        ds.SeriesDescription = rt.description
    frame, of_study, of_series = Dataset(), Dataset(), Dataset()
    of_series.SeriesInstanceUID = source[0].SeriesInstanceUID
    of_series.ContourImageSequence = [_reference(one) for one in source]
    of_study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    of_study.ReferencedSOPInstanceUID = source[0].StudyInstanceUID
    of_study.RTReferencedSeriesSequence = [of_series]
    frame.FrameOfReferenceUID = images[rt.frame_of or rt.on][0].FrameOfReferenceUID
    frame.RTReferencedStudySequence = [of_study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for at, (name, what) in enumerate(rt.rois.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName, roi.ROIGenerationAlgorithm = at, name, "MANUAL"
        roi.ReferencedFrameOfReferenceUID = frame.FrameOfReferenceUID
        drawn.ReferencedROINumber = at
        drawn.ContourSequence = _contours(what, source)
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    return ds


def _contours(what: str, source: Sequence[Dataset]) -> list[Dataset]:
    point = what.startswith("point in ")
    name = what.removeprefix("point in ")
    if point:
        x, y, z = _BALLS[name][0]
        return [_contour("POINT", np.array([[x + 0.3, y - 0.2]]), source[z])]
    mask = ball(name)
    return [
        _contour("CLOSED_PLANAR", traced(mask[:, :, k]), source[k])
        for k in np.flatnonzero(mask.any(axis=(0, 1))).tolist()
    ]


def _contour(kind: str, pixels: NDArray[Any], image: Dataset) -> Dataset:
    one = Dataset()
    one.ContourImageSequence = [_reference(image)]
    one.ContourGeometricType, one.NumberOfContourPoints = kind, len(pixels)
    corner = np.array([float(value) for value in image.ImagePositionPatient])
    points = np.column_stack([pixels * _STEP_MM[:2] + corner[:2], np.full(len(pixels), corner[2])])
    one.ContourData = [f"{value:.6g}" for value in points.ravel().tolist()]
    return one


def _reference(image: Dataset) -> Dataset:
    found = Dataset()
    found.ReferencedSOPClassUID = image.SOPClassUID
    found.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return found
