"""DICOM objects that hold a long and a short axis: written by highdicom's classes, or pydicom's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from makers.own_lines import Measured

# Image coordinates of DICOM count from the corner of the first pixel.
_CORNER_VOX = 0.5


def completed(ds: Dataset) -> Dataset:
    """Header with the elements that highdicom copies, empty where it lacked them."""
    for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
        if keyword not in ds:
            setattr(ds, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "ReferringPhysicianName"):
        if keyword not in ds:
            setattr(ds, keyword, None)
    return ds


def write_segmentation(
    path: Path, slices: list[Dataset], frames: NDArray[np.uint8], label: str, **more: Any
) -> None:
    """Write a segmentation with one segment by highdicom, which lists all slices it is given.

    Parameters
    ----------
    slices : list of Dataset
        From the feet; what highdicom copies is added to them.
    frames : ndarray, shape (slices, rows, columns)
    more
        Further arguments of highdicom, such as `series_description`.
    """
    from highdicom import seg
    from pydicom.sr.codedict import codes

    described = seg.SegmentDescription(
        1, label, codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm, "MANUAL"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = seg.Segmentation(
            [completed(one) for one in slices],
            frames,
            segmentation_type="BINARY",
            segment_descriptions=[described],
            manufacturer_model_name="none",
            software_versions="0",
            device_serial_number="0",
            **_identity(),
            **more,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=True)


def _slice_of(lines: Measured) -> Dataset:
    """Header of the measured slice, as highdicom needs it."""
    for path in sorted(lines.folder.iterdir()):
        ds = pydicom.dcmread(path)
        if ds.SOPInstanceUID == lines.sop_instance_uid:
            return completed(ds)
    raise AssertionError(lines.sop_instance_uid)


def _identity() -> dict[str, Any]:
    return {
        "series_instance_uid": generate_uid(),
        "series_number": 900,
        "sop_instance_uid": generate_uid(),
        "instance_number": 1,
        "manufacturer": "none",
    }


def write_sr(lines: Measured, to: Path, *, in_3d: bool = False, lengths_mm: Any = None) -> None:
    """Write a TID 1500 report with one group: long and short axis, with their coordinates.

    Parameters
    ----------
    in_3d : bool
        SCOORD3D, which names no image, and not SCOORD.
    lengths_mm : pair of float, optional
        What it states; by default what is true.
    """
    from highdicom import sr
    from pydicom.sr.codedict import Code, codes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _slice_of(lines)
        ends = (lines.lps_mm[:2], lines.lps_mm[2:])
        if lengths_mm is None:
            lengths_mm = [float(np.linalg.norm(b - a)) for a, b in ends]
        pixels = lines.pixels + _CORNER_VOX
        values = []
        axes = (Code("103339001", "SCT", "Long Axis"), Code("103340004", "SCT", "Short Axis"))
        for at, (axis, stated) in enumerate(zip(axes, lengths_mm, strict=True)):
            where: Any = (
                sr.CoordinatesForMeasurement3D(
                    sr.GraphicTypeValues3D.POLYLINE, ends[at], image.FrameOfReferenceUID
                )
                if in_3d
                else sr.CoordinatesForMeasurement(
                    sr.GraphicTypeValues.POLYLINE,
                    pixels[2 * at : 2 * at + 2],
                    sr.SourceImageForRegion.from_source_image(image),
                )
            )
            values.append(
                sr.Measurement(axis, stated, codes.UCUM.Millimeter, referenced_coordinates=[where])
            )
        group = sr.MeasurementsAndQualitativeEvaluations(
            sr.TrackingIdentifier(generate_uid(), "lesion 1"), measurements=values
        )
        person = sr.PersonObserverIdentifyingAttributes(name="Private^Name")
        content = sr.MeasurementReport(
            sr.ObservationContext(
                observer_person_context=sr.ObserverContext(codes.DCM.Person, person)
            ),
            procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
            imaging_measurements=[group],
        )
        report = sr.Comprehensive3DSR([image], content[0], **_identity())
        report.save_as(to, enforce_file_format=True)


def write_gsps(lines: Measured, to: Path, *, displayed: bool = False) -> None:
    """Write a presentation state with a polyline for each axis.

    Parameters
    ----------
    displayed : bool
        In shares of a displayed area, turned by 90 degrees, and not in pixels.
    """
    from highdicom import pr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _slice_of(lines)
        pixels = lines.pixels + _CORNER_VOX
        if displayed:
            # A quarter turn to the right of columns 11 to 190, rows 21 to 180 (from 1): the bottom
            # left pixel (11, 180) comes to the top left, the top right one (190, 21) to the
            # bottom right; what runs to the right was up.
            pixels = np.column_stack([(180 - pixels[:, 1]) / 160, (pixels[:, 0] - 10) / 180])
        units = "DISPLAY" if displayed else "PIXEL"
        layer = pr.GraphicLayer("LAYER", 1)
        objects = [pr.GraphicObject("POLYLINE", pixels[at : at + 2], units) for at in (0, 2)]
        state = pr.GrayscaleSoftcopyPresentationState(
            [image],
            manufacturer_model_name="none",
            software_versions="0",
            device_serial_number="0",
            content_label="LINES",
            content_creator_name="Private^Name",
            graphic_layers=[layer],
            graphic_annotations=[pr.GraphicAnnotation([image], layer, graphic_objects=objects)],
            **_identity(),
        )
        if displayed:
            state.ImageRotation, state.ImageHorizontalFlip = 90, "N"
            (area,) = state.DisplayedAreaSelectionSequence
            area.DisplayedAreaTopLeftHandCorner = [11, 180]
            area.DisplayedAreaBottomRightHandCorner = [190, 21]
        state.save_as(to, enforce_file_format=True)


def write_structures(
    lines: Measured, to: Path, *, kind: str = "OPEN_PLANAR", point: Any = None, named: bool = True
) -> None:
    """Write a structure set of one structure: a contour of two points for each axis.

    Parameters
    ----------
    point : array of 3 float, optional
        A POINT besides, in LPS mm.
    named : bool
        Whether contours name their slice, and the set its series; else its frame of reference.
    """
    first = pydicom.dcmread(next(iter(sorted(lines.folder.iterdir()))), stop_before_pixels=True)
    contours = [(kind, ends) for ends in (lines.lps_mm[:2], lines.lps_mm[2:])]
    contours += [] if point is None else [("POINT", np.array([point]))]
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = RTStructureSetStorage, generate_uid()
    ds.Modality, ds.PatientName, ds.PatientID = "RTSTRUCT", "Private^Name", "private"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = first.StudyInstanceUID, generate_uid()
    ds.StructureSetLabel = "LINES"
    roi = Dataset()
    roi.ROINumber, roi.ROIName = 1, "target 1"
    roi.ReferencedFrameOfReferenceUID = first.FrameOfReferenceUID
    ds.StructureSetROISequence = Sequence([roi])
    drawn = Dataset()
    drawn.ReferencedROINumber = 1
    drawn.ContourSequence = Sequence(_contour(lines, *one, named) for one in contours)
    ds.ROIContourSequence = Sequence([drawn])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta = meta
    ds.save_as(to, enforce_file_format=True)


def _contour(lines: Measured, kind: str, points: Any, named: bool) -> Dataset:
    one = Dataset()
    one.ContourGeometricType, one.NumberOfContourPoints = kind, len(points)
    one.ContourData = [f"{number:.10g}"[:16] for number in points.ravel().tolist()]
    if named:
        image = Dataset()
        image.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        image.ReferencedSOPInstanceUID = lines.sop_instance_uid
        one.ContourImageSequence = Sequence([image])
    return one
