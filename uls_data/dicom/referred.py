"""What a structure set or a segmentation says about the series that it belongs to."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom.dataset import Dataset
from pydicom.uid import UID, RTStructureSetStorage

from uls_data.dicom.elements import Tag
from uls_data.dicom.header import read_header
from uls_data.dicom.objects import FreeText, free_text, items, parsing, read_object, uid
from uls_data.dicom.phases import NamedSlices
from uls_data.dicom.rtstruct import MAXIMUM_BYTES as RTSTRUCT_BYTES
from uls_data.dicom.rtstruct import frames_of, referred_series, series_of
from uls_data.dicom.seg import ENCAPSULATED, SEG_CLASSES
from uls_data.dicom.seg import MAXIMUM_BYTES as SEG_BYTES
from uls_data.errors import CaseError
from uls_data.outcome import Reason

Kind = Literal["rtstruct", "seg"]
_CLASSES: dict[Kind, tuple[tuple[UID, ...], int]] = {
    "rtstruct": ((RTStructureSetStorage,), RTSTRUCT_BYTES),
    "seg": (SEG_CLASSES, SEG_BYTES),
}


@dataclass(frozen=True)
class References:
    """UIDs that an object names.

    Attributes
    ----------
    series : frozenset of str
        Series instance UIDs.
    slices : frozenset of str
        SOP instance UIDs of the images that it was drawn on; none where they were not looked for.
    frames : frozenset of str
        Frames of reference.
    description : FreeText
        Of the object's own series.
    """

    series: frozenset[str]
    slices: frozenset[str]
    frames: frozenset[str]
    description: FreeText


def kind_of(path: Path) -> Kind:
    """Kind of an object, by its SOP class: what is not a structure set counts as a segmentation.

    Raises
    ------
    CaseError
        Its header cannot be read.
    """
    try:
        header, _ = read_header(path, path.name, frozenset({Tag.SOP_CLASS_UID}))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CaseError(Reason.IO_ERROR, f"{path.name}: {reason}") from error
    return "rtstruct" if header.text(Tag.SOP_CLASS_UID) == RTStructureSetStorage else "seg"


def references_of(path: Path, kind: Kind, known: Collection[str] = ()) -> References:
    """UIDs that an object names; no point or pixel of it is looked at.

    Parameters
    ----------
    known : collection of str
        Series that are there. Slices, which take a walk through all contours or frames, are looked
        for unless the object names exactly one of these.

    Raises
    ------
    CaseError
        As `read_rtstruct` and `read_seg` do.
    """
    classes, most = _CLASSES[kind]
    name = path.name
    with parsing(name):
        ds, *_ = read_object(path, classes, most, ENCAPSULATED if kind == "seg" else ())
        return (_of_rtstruct if kind == "rtstruct" else _of_seg)(ds, name, known)


def slices_named(path: Path, kind: Kind) -> NamedSlices:
    """Slices that an object names, also where it names its series.

    Raises
    ------
    CaseError
        As `references_of`.
    """
    classes, most = _CLASSES[kind]
    name = path.name
    with parsing(name):
        ds, *_ = read_object(path, classes, most, ENCAPSULATED if kind == "seg" else ())
        return (_of_contours if kind == "rtstruct" else _of_frames)(ds, name)


def _of_rtstruct(ds: Dataset, name: str, known: Collection[str]) -> References:
    description = free_text(ds, "SeriesDescription", name)
    referred = referred_series(ds, name)
    series, frames = series_of(referred, name), frames_of(ds, name)
    if len(series & set(known)) == 1:
        return References(series, frozenset(), frames, description)
    named = _of_contours(ds, name)
    return References(series, named.drawn | named.listed, frames, description)


def _of_contours(ds: Dataset, name: str) -> NamedSlices:
    listed, drawn = set[str | None](), set[str | None]()
    for one in referred_series(ds, name):
        listed |= _images(one, "ContourImageSequence", name)
    for roi in items(ds, "ROIContourSequence", name):
        # What is wrong with one ROI is said where that is read, if it is wanted.
        with suppress(CaseError), parsing(name):
            for contour in items(roi, "ContourSequence", name):
                drawn |= _images(contour, "ContourImageSequence", name)
    return NamedSlices(_known(drawn), _known(listed))


def _of_seg(ds: Dataset, name: str, known: Collection[str]) -> References:
    description = free_text(ds, "SeriesDescription", name)
    frame = _known({uid(ds, "FrameOfReferenceUID", name)})
    referred = items(ds, "ReferencedSeriesSequence", name)
    series = {uid(one, "SeriesInstanceUID", name) for one in referred}
    if len(series & set(known)) == 1:
        return References(_known(series), frozenset(), frame, description)
    named = _of_frames(ds, name)
    return References(_known(series), named.drawn | named.listed, frame, description)


def _of_frames(ds: Dataset, name: str) -> NamedSlices:
    listed, drawn = set[str | None](), set[str | None]()
    for one in items(ds, "ReferencedSeriesSequence", name):
        listed |= _images(one, "ReferencedInstanceSequence", name)
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in items(ds, keyword, name):
            for derivation in items(group, "DerivationImageSequence", name):
                drawn |= _images(derivation, "SourceImageSequence", name)
    return NamedSlices(_known(drawn), _known(listed))


def _images(ds: Dataset, keyword: str, name: str) -> set[str | None]:
    return {uid(image, "ReferencedSOPInstanceUID", name) for image in items(ds, keyword, name)}


def _known(uids: set[str | None]) -> frozenset[str]:
    return frozenset(one for one in uids if one)
