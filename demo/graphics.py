"""Made-up DICOM of measurements: structured reports and presentation states with two lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    CTImageStorage,
    GrayscaleSoftcopyPresentationStateStorage,
)

from demo.dicom import PRIVATE, bytes_of, start, uid_of
from demo.files import write

# DICOM's coordinates count from the corner of the first pixel, from 0.
_CORNER_VOX = 0.5
_AXES = (("103339001", "Long Axis"), ("103340004", "Short Axis"))


def write_report(
    path: Path,
    groups: Sequence[tuple[str, NDArray[np.float64], Sequence[float]]],
    series: str,
    patient: str,
) -> None:
    """Write a structured report with a measurement group (TID 1410) a lesion.

    Parameters
    ----------
    groups : sequence of (SOPInstanceUID, points, lengths)
        Of one lesion: the measured slice; column and row of the ends of long and short axis,
        shape (4, 2), pixel centres at whole numbers from 0; both lengths in mm.
    """
    data = start(ComprehensiveSRStorage, uid_of(series, "sr"), series, patient, "SR")
    data.SeriesInstanceUID = uid_of(series, "sr series")
    data.ValueType, data.ContinuityOfContent = "CONTAINER", "SEPARATE"
    data.CompletionFlag, data.VerificationFlag = "COMPLETE", "UNVERIFIED"
    data.ConceptNameCodeSequence = [_code("126000", "DCM", "Imaging Measurement Report")]
    person = _item("PNAME", "HAS OBS CONTEXT", "121008", "Person Observer Name")
    person.PersonName = PRIVATE
    made = []
    for number, (slice_uid, points, lengths) in enumerate(groups, 1):
        group = _item("CONTAINER", "CONTAINS", "125007", "Measurement Group")
        name = _item("TEXT", "HAS OBS CONTEXT", "112039", "Tracking Identifier")
        name.TextValue = f"lesion {number}"
        group.ContentSequence = [name]
        for at, (code, meaning) in enumerate(_AXES):
            value = _item("NUM", "CONTAINS", code, meaning, "SCT")
            measured = Dataset()
            measured.NumericValue = f"{lengths[at]:.4g}"
            measured.MeasurementUnitsCodeSequence = [_code("mm", "UCUM", "millimeter")]
            value.MeasuredValueSequence = [measured]
            line = _item("SCOORD", "INFERRED FROM", "121055", "Path")
            line.GraphicType = "POLYLINE"
            line.GraphicData = (points[2 * at : 2 * at + 2] + _CORNER_VOX).ravel().tolist()
            image = Dataset()
            image.ValueType, image.RelationshipType = "IMAGE", "SELECTED FROM"
            image.ReferencedSOPSequence = [_reference(slice_uid)]
            line.ContentSequence = [image]
            value.ContentSequence = [line]
            group.ContentSequence.append(value)
        made.append(group)
    measurements = _item("CONTAINER", "CONTAINS", "126010", "Imaging Measurements")
    measurements.ContentSequence = made
    data.ContentSequence = [person, measurements]
    write(path, bytes_of(data))


def write_state(
    path: Path, slice_uid: str, points: NDArray[np.float64], series: str, patient: str
) -> None:
    """Write a presentation state with a polyline for each axis, in pixels.

    Parameters
    ----------
    points : ndarray, shape (4, 2)
        As for `write_report`.
    """
    sop_class = GrayscaleSoftcopyPresentationStateStorage
    data = start(sop_class, uid_of(series, "state"), series, patient, "PR")
    data.SeriesInstanceUID = uid_of(series, "state series")
    data.ContentLabel, data.ContentCreatorName = "LINES", PRIVATE
    referred, layer, annotation = Dataset(), Dataset(), Dataset()
    referred.SeriesInstanceUID = uid_of(series)
    referred.ReferencedImageSequence = [_reference(slice_uid)]
    data.ReferencedSeriesSequence = [referred]
    layer.GraphicLayer, layer.GraphicLayerOrder = "LINES", 1
    data.GraphicLayerSequence = [layer]
    annotation.GraphicLayer = "LINES"
    annotation.ReferencedImageSequence = [_reference(slice_uid)]
    annotation.GraphicObjectSequence = []
    for at in (0, 2):
        line = Dataset()
        line.GraphicAnnotationUnits, line.GraphicType = "PIXEL", "POLYLINE"
        line.GraphicDimensions, line.NumberOfGraphicPoints, line.GraphicFilled = 2, 2, "N"
        line.GraphicData = (points[at : at + 2] + _CORNER_VOX).ravel().tolist()
        annotation.GraphicObjectSequence.append(line)
    data.GraphicAnnotationSequence = [annotation]
    write(path, bytes_of(data))


def _item(kind: str, relation: str, code: str, meaning: str, scheme: str = "DCM") -> Dataset:
    item = Dataset()
    item.ValueType, item.RelationshipType = kind, relation
    item.ConceptNameCodeSequence = [_code(code, scheme, meaning)]
    if kind == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _reference(slice_uid: str) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = CTImageStorage, slice_uid
    return image
