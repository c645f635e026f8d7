"""DICOM SEG of the lesions of a CT series, and TID 1500 SR of their sizes, by highdicom.

Same lesions, same bytes: UIDs are drawn from identities, and no clock is read. What names a
person cannot reach an object: patient, study and physician are what the caller says, or empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from uls_data._version import __version__
from uls_data.dicom.objects import Region
from uls_data.dicom.scan_headers import ScanHeaders
from uls_data.errors import SourceError
from uls_data.ids import draw

# Required elements that would hold the time of writing, and make each run another file.
_DATE, _TIME = "19000101", "000000"
_PRODUCT = "uls-data"


@dataclass(frozen=True)
class Segment:
    """One lesion on a series.

    Attributes
    ----------
    region : Region
        In the stored order of the series (columns, rows, slices); not empty.
    label : str
        At most 64 characters.
    tracking_id : str
        Name of the lesion across objects; its UID is drawn from it.
    made_by : {"MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"}
    method : str
        What made the mask, where it is not manual.
    long_axis_mm, short_axis_mm, volume_mm3 : float or None
    """

    region: Region
    label: str
    tracking_id: str
    made_by: Literal["MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"]
    method: str
    long_axis_mm: float | None
    short_axis_mm: float | None
    volume_mm3: float | None

    @property
    def tracking_uid(self) -> str:
        """UID of the lesion."""
        return uid_of("tracking", self.tracking_id)


def uid_of(*identity: str | int) -> str:
    """UID drawn from an identity (PS3.5 B.2)."""
    return f"2.25.{draw(1 << 128, 'uid', *identity)}"


def check_highdicom() -> None:
    """Say what to install where highdicom is not.

    Raises
    ------
    SourceError
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise SourceError(
            "DICOM SEG is written by highdicom, which is not installed: "
            "pip install 'uls-data[dicom]'"
        ) from error


def write_seg(
    scan: ScanHeaders, segments: Sequence[Segment], patient_id: str, identity: str
) -> tuple[bytes, bytes]:
    """Write the segments of a series as a SEG, and their sizes as an SR that refers to it.

    Parameters
    ----------
    scan : ScanHeaders
    segments : sequence of Segment
        Numbered from 1 in their order; they may overlap.
    patient_id : str
        Goes into both objects; name, birth date, sex and everything about the study but its UID
        are empty.
    identity : str
        Of what is written: the UIDs of both objects are drawn from it, so it must change
        whenever they do.

    Returns
    -------
    bytes, bytes
        SEG and SR as files (PS3.10).
    """
    slices = [_of_patient(one, patient_id) for one in scan.slices]
    height = range(len(slices))
    used = sorted(
        {
            k
            for one in segments
            for k in height[one.region.start[2] :][: one.region.mask.shape[2]]
            if one.region.mask[:, :, k - one.region.start[2]].any()
        }
    )
    frames = _frames(scan.volume.stored.shape, segments, used)
    seg = _seg([slices[k] for k in used], frames, segments, identity)
    return _file(seg), _file(_report(seg, [slices[k] for k in used], segments, identity))


def _of_patient(one: Dataset, patient_id: str) -> Dataset:
    dataset = Dataset()
    dataset.update(one)
    dataset.PatientID = patient_id
    for keyword in (
        *("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
        *("StudyDate", "StudyTime", "ReferringPhysicianName"),
    ):
        setattr(dataset, keyword, "")
    return dataset


def _frames(shape: tuple[int, ...], segments: Sequence[Segment], used: list[int]) -> Any:
    """Frames of the slices in use: their segments' numbers, or, where they overlap, one each."""
    columns, rows, _ = shape
    place = {k: at for at, k in enumerate(used)}
    numbers = np.zeros((len(used), rows, columns), np.uint16)
    overlap = False
    for number, one in enumerate(segments, 1):
        for at, part, mask in _planes(one.region, place):
            there = numbers[(at, *part)]
            overlap |= bool(there[mask].any())
            there[mask] = number
    if not overlap:
        return numbers
    single = np.zeros((len(used), rows, columns, len(segments)), np.uint8)
    for number, one in enumerate(segments):
        for at, part, mask in _planes(one.region, place):
            single[(at, *part, number)][mask] = 1
    return single


def _planes(region: Region, place: dict[int, int]) -> Any:
    """Frame, rows and columns, and mask (rows, columns) of each slice of a region."""
    width, depth, height = region.mask.shape
    x, y, z = region.start
    for k in range(height):
        if z + k in place:
            part = (slice(y, y + depth), slice(x, x + width))
            yield place[z + k], part, region.mask[:, :, k].T


def _seg(
    images: Sequence[Dataset], frames: Any, segments: Sequence[Segment], identity: str
) -> Dataset:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.sr.codedict import codes

    described = []
    for number, one in enumerate(segments, 1):
        algorithm = None
        if one.made_by != "MANUAL":
            algorithm = AlgorithmIdentificationSequence(
                one.method, codes.DCM.ArtificialIntelligence, __version__
            )
        described.append(
            SegmentDescription(
                segment_number=number,
                segment_label=one.label,
                segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
                segmented_property_type=codes.SCT.Lesion,
                algorithm_type=one.made_by,
                algorithm_identification=algorithm,
                tracking_uid=one.tracking_uid,
                tracking_id=one.tracking_id,
            )
        )
    seg: Dataset = Segmentation(
        source_images=images,
        pixel_array=frames,
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=uid_of("seg series", identity),
        series_number=900,
        sop_instance_uid=uid_of("seg", identity),
        instance_number=1,
        manufacturer=_PRODUCT,
        manufacturer_model_name=_PRODUCT,
        software_versions=__version__,
        device_serial_number="0",
        content_label="LESIONS",
        content_description="Lesions of a CT series",
        series_description="Lesions",
    )
    dimensions = uid_of("dimensions", identity)
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    return seg


def _report(
    seg: Dataset, images: Sequence[Dataset], segments: Sequence[Segment], identity: str
) -> Dataset:
    from highdicom import sr
    from pydicom.sr.codedict import codes

    observer = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=uid_of("device", _PRODUCT),
            manufacturer_name=_PRODUCT,
            model_name=f"{_PRODUCT} {__version__}",
        ),
    )
    sizes = {
        "long_axis_mm": (codes.SCT.LongAxis, codes.UCUM.Millimeter),
        "short_axis_mm": (codes.SCT.ShortAxis, codes.UCUM.Millimeter),
        "volume_mm3": (codes.SCT.Volume, codes.UCUM.CubicMillimeter),
    }
    groups = []
    for number, one in enumerate(segments, 1):
        known = {name: getattr(one, name) for name in sizes}
        groups.append(
            sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(one.tracking_uid, one.tracking_id),
                referenced_segment=sr.ReferencedSegment(
                    sop_class_uid=seg.SOPClassUID,
                    sop_instance_uid=seg.SOPInstanceUID,
                    segment_number=number,
                    source_series=sr.SourceSeriesForSegmentation(images[0].SeriesInstanceUID),
                ),
                finding_type=codes.SCT.Lesion,
                measurements=[
                    sr.Measurement(name=sizes[name][0], value=value, unit=sizes[name][1])
                    for name, value in known.items()
                    if value is not None
                ],
            )
        )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    report: Dataset = sr.Comprehensive3DSR(
        evidence=[seg, *images],
        content=content,
        series_instance_uid=uid_of("sr series", identity),
        series_number=901,
        sop_instance_uid=uid_of("sr", identity),
        instance_number=1,
        manufacturer=_PRODUCT,
        is_complete=True,
        series_description="Sizes of lesions",
        transfer_syntax_uid=ExplicitVRLittleEndian,
    )
    return report


def _file(dataset: Dataset) -> bytes:
    """File of an object without the time at which it was made."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        dataset.pop(keyword, None)
    dataset.ContentDate, dataset.ContentTime = _DATE, _TIME
    for item in dataset.get("ContributingEquipmentSequence", ()):
        item.pop("ContributionDateTime", None)
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()
