"""Structure sets written and read again, for the tests of RTSTRUCT."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RTStructureSetStorage,
)

from uls_data import geometry
from uls_data.dicom.rtstruct import Contour, Filled, Structures, rasterise, read_rtstruct
from uls_data.errors import CaseError

MARK = "Muster^Geheim"
SERIES = "1.2.826.0.1.3680043.8.498.7"
SLICES = [f"{SERIES}.{number}" for number in range(5)]
# x and y run against RAS, as in most CT; steps that binary fractions cannot all hold.
AFFINE = np.array(
    [[-0.7, 0, 0, 31.3], [0, -0.6, 0, -12.9], [0, 0, 2.5, -804.25], [0, 0, 0, 1]], dtype=np.float64
)
SHAPE = (17, 13, 5)
SQUARE = [(2, 3), (9, 3), (9, 8), (2, 8)]
TEXTS = (
    *("AccessionNumber", "Manufacturer", "InstitutionName", "InstitutionAddress"),
    *("ReferringPhysicianName", "StationName", "StudyDescription", "SeriesDescription"),
    *("OperatorsName", "PatientName", "PatientID", "PatientComments", "StudyID", "ReviewerName"),
    *("StructureSetLabel", "StructureSetName", "StructureSetDescription"),
)
SYNTAXES = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]


def contour(
    vertices: Any,
    at: float = 2,
    kind: str = "CLOSED_PLANAR",
    affine: NDArray[np.float64] = AFFINE,
    sop_uid: str | None = None,
) -> Contour:
    """A contour through voxel coordinates (column, row) of a slice, or (column, row, slice)."""
    points = np.array([(*point, at)[:3] for point in vertices], dtype=np.float64)
    return Contour(kind, geometry.to_mm(affine, points) * (-1, -1, 1), sop_uid)


def fill(*polygons: Any, **options: Any) -> NDArray[np.bool_]:
    """Slice 2 of what polygons enclose."""
    return mask_of(rasterise([contour(one, **options) for one in polygons], SHAPE, AFFINE))[..., 2]


def mask_of(filled: Filled, shape: tuple[int, ...] = SHAPE) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(filled.region.voxels.T)] = True
    assert np.count_nonzero(mask) == len(filled.region.voxels)
    return mask


def structure_set(rois: dict[int, tuple[str, list[Contour]]]) -> Dataset:
    """A structure set with private text in every text element that it may have."""
    ds = Dataset()
    ds.SOPClassUID = RTStructureSetStorage
    ds.SOPInstanceUID = f"{SERIES}.900"
    for keyword in TEXTS:
        setattr(ds, keyword, MARK)
    ds.PatientBirthDate = "19010203"
    image = Dataset()
    image.ReferencedSOPClassUID = CTImageStorage
    image.ReferencedSOPInstanceUID = SLICES[0]
    series = Dataset()
    series.SeriesInstanceUID = SERIES
    series.ContourImageSequence = [image]
    study = Dataset()
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = f"{SERIES}.800"
    frame.RTReferencedStudySequence = [study]
    ds.ReferencedFrameOfReferenceSequence = [frame]
    ds.StructureSetROISequence, ds.ROIContourSequence, ds.RTROIObservationsSequence = [], [], []
    for number, (name, contours) in rois.items():
        roi = Dataset()
        roi.ROINumber = number
        roi.ReferencedFrameOfReferenceUID = f"{SERIES}.800"
        roi.ROIName = name
        roi.ROIDescription = MARK
        roi.ROIGenerationAlgorithm = "MANUAL"
        ds.StructureSetROISequence.append(roi)
        drawn = Dataset()
        drawn.ReferencedROINumber = number
        drawn.ContourSequence = [_item(one) for one in contours]
        ds.ROIContourSequence.append(drawn)
        observation = Dataset()
        observation.ReferencedROINumber = number
        observation.ROIObservationLabel = MARK
        observation.ROIInterpreter = MARK
        ds.RTROIObservationsSequence.append(observation)
    return ds


def _item(one: Contour) -> Dataset:
    item = Dataset()
    if one.sop_uid is not None:
        image = Dataset()
        image.ReferencedSOPClassUID = CTImageStorage
        image.ReferencedSOPInstanceUID = one.sop_uid
        item.ContourImageSequence = [image]
    item.ContourGeometricType = one.kind
    item.NumberOfContourPoints = len(one.points_mm)
    item.ContourData = [f"{value:.8g}" for value in one.points_mm.ravel()]
    return item


TWO = {
    1: ("GTV-1", [contour(SQUARE, at, sop_uid=SLICES[at]) for at in (1, 2)]),
    7: (MARK, [contour([(1, 1)], 3, "POINT"), contour(SQUARE[:3], 3)]),
}


def encoded(ds: Dataset, syntax: str = ExplicitVRLittleEndian, undefined: bool = False) -> bytes:
    """Bytes of a file, its sequences of undefined length if so wished."""
    if undefined:
        _undefine(ds)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _undefine(ds: Dataset) -> None:
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                _undefine(item)


def read(folder: Path, data: bytes) -> Structures:
    path = folder / "RS.dcm"
    path.write_bytes(data)
    return read_rtstruct(path)


def refusal(folder: Path, data: bytes) -> CaseError:
    with pytest.raises(CaseError) as caught:
        for roi in read(folder, data).rois:
            if roi.problem is not None:
                raise roi.problem
    assert "RS.dcm" in caught.value.detail
    assert str(folder) not in caught.value.detail
    assert MARK[:6] not in caught.value.detail
    return caught.value


def points_of(ds: Dataset) -> Dataset:
    found: Dataset = ds.ROIContourSequence[0].ContourSequence[1]
    return found
