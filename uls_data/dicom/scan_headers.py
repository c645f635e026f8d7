"""A CT series as an object that refers to it needs it: its voxels, and what names each slice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

from uls_data.dicom.elements import Header, Tag
from uls_data.dicom.phases import DrawnOn
from uls_data.dicom.series import read_series
from uls_data.dicom.stack import ACCEPTED
from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.volumes.volume import Volume

_UIDS = {
    "SOPClassUID": Tag.SOP_CLASS_UID,
    "SOPInstanceUID": Tag.SOP_INSTANCE_UID,
    "StudyInstanceUID": Tag.STUDY_INSTANCE_UID,
    "SeriesInstanceUID": Tag.SERIES_INSTANCE_UID,
    "FrameOfReferenceUID": Tag.FRAME_OF_REFERENCE_UID,
}
_NUMBERS = {
    "ImagePositionPatient": (Tag.IMAGE_POSITION_PATIENT, 3),
    "ImageOrientationPatient": (Tag.IMAGE_ORIENTATION_PATIENT, 6),
    "PixelSpacing": (Tag.PIXEL_SPACING, 2),
}


@dataclass(frozen=True)
class ScanHeaders:
    """A series on disk.

    Attributes
    ----------
    volume : Volume
        Stored order: columns, rows, slices.
    slices : tuple of Dataset
        Of each slice, in that order: UIDs, size and place, and nothing about a person.
    """

    volume: Volume
    slices: tuple[Dataset, ...]


def scan_headers(files: Sequence[Path], root: Path, drawn_on: DrawnOn | None = None) -> ScanHeaders:
    """Read a CT series, and what identifies its slices.

    Parameters
    ----------
    files : sequence of Path
        Of one series, relative to the root, in any order.
    drawn_on : callable, optional
        Where a build chose one of several stacks: says by which slices.

    Raises
    ------
    CaseError
        As `read_series`; `duplicate_uids` where UIDs do not tell slices apart, `unreadable` where
        one is missing.
    """
    policy = ACCEPTED if drawn_on is None else replace(ACCEPTED, duplicate_positions="fail")
    series = read_series(files, root, policy, drawn_on)
    if series.shared_uids or "" in series.sop_instance_uids:
        raise CaseError(
            Reason.DUPLICATE_UIDS,
            "several slices share a SOP Instance UID, or have none: nothing can refer to one",
        )
    by_uid = {header.uid(Tag.SOP_INSTANCE_UID): header for header in series.headers}
    return ScanHeaders(
        series.volume, tuple(_dataset(by_uid[uid]) for uid in series.sop_instance_uids)
    )


def _dataset(header: Header) -> Dataset:
    """Take what a reference to a slice needs, element by element: nothing else comes along."""
    dataset = Dataset()
    for keyword, tag in _UIDS.items():
        if not header.uid(tag):
            raise CaseError(Reason.UNREADABLE, f"{header.name}: {tag.label} is missing")
        setattr(dataset, keyword, header.uid(tag))
    for keyword, (tag, count) in _NUMBERS.items():
        # As text: the digits of the file are kept.
        assert header.numbers(tag, count) is not None  # or the series had not been read
        setattr(dataset, keyword, header.text(tag).split("\\"))
    thickness_mm = header.text(Tag.SLICE_THICKNESS)
    dataset.SliceThickness = thickness_mm or None
    dataset.Rows, dataset.Columns = header.integer(Tag.ROWS), header.integer(Tag.COLUMNS)
    dataset.Modality = "CT"
    return dataset
