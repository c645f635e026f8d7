"""Which CT series an object belongs to, by each thing that it may name."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from makers import rtstruct, seg
from pydicom.dataset import Dataset

from uls_data.dicom import referred
from uls_data.dicom.inventory import SeriesFiles
from uls_data.dicom.referred import Kind
from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.sources.dicom.resolving import Resolver


def series(uid: str, *slices: str, frame: str = "") -> SeriesFiles:
    return SeriesFiles(uid, "1.1", "CT", None, (), frame, "", frozenset(slices))


def item(**values: Any) -> Dataset:
    found = Dataset()
    for keyword, value in values.items():
        setattr(found, keyword, value)
    return found


def images(uids: Collection[str]) -> list[Dataset]:
    return [item(ReferencedSOPInstanceUID=uid) for uid in uids]


def structure_set(
    named: Collection[str] = (), slices: Collection[str] = (), frame: str = ""
) -> bytes:
    """A structure set that names series, slices (of its contour) and a frame of reference."""
    ds = rtstruct.structure_set({1: ("GTV", [rtstruct.contour(rtstruct.SQUARE)])})
    ds.ROIContourSequence[0].ContourSequence[0].ContourImageSequence = images(slices)
    of_series = [item(SeriesInstanceUID=uid, ContourImageSequence=[]) for uid in named]
    study = item(RTReferencedSeriesSequence=of_series)
    place = item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])
    ds.ReferencedFrameOfReferenceSequence = [place]
    ds.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = frame
    return rtstruct.encoded(ds)


def segmentation(
    named: Collection[str] = (), slices: Collection[str] = (), frame: str = ""
) -> bytes:
    """The same as a Segmentation."""
    _, affine = seg.grid()
    ds = seg.segmentation(seg.masks_of(1, 1), affine)
    ds.ReferencedSeriesSequence = [item(SeriesInstanceUID=uid) for uid in named]
    ds.FrameOfReferenceUID = frame
    for one in ds.PerFrameFunctionalGroupsSequence:
        one.DerivationImageSequence[0].SourceImageSequence = images(slices)
    return seg.encoded(ds)


MAKERS = {"rtstruct": structure_set, "seg": segmentation}


class Archive:
    """Two CT and one PET, and the object under test."""

    def __init__(self, folder: Path, kind: Kind, *ct: SeriesFiles) -> None:
        self.path, self.kind = folder / "object.dcm", kind
        self.resolver = Resolver(list(ct), {"1.8": "PT"})

    def resolved(self, **names: Any) -> tuple[str, bool]:
        self.path.write_bytes(MAKERS[self.kind](**names))
        refers = self.resolver.references_of(self.path, self.kind)
        found, inferred = self.resolver.series_of(refers, "a/b.dcm")
        return found.series_instance_uid, inferred

    def refused(self, **names: Any) -> CaseError:
        with pytest.raises(CaseError) as caught:
            self.resolved(**names)
        assert caught.value.detail.startswith("a/b.dcm: ")
        return caught.value


@pytest.fixture(params=["rtstruct", "seg"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Archive:
    first, second = (
        series("1.2", "1.2.1", "1.2.2", frame="1.9"),
        series("1.3", "1.3.1", frame="1.7"),
    )
    return Archive(tmp_path, request.param, first, second)


def test_the_series_that_it_names(archive: Archive) -> None:
    assert archive.resolved(named=["1.2"]) == ("1.2", False)
    # What else it names does not matter then, nor does a series that is not CT.
    assert archive.resolved(named=["1.2", "1.8"], slices=["1.3.1"], frame="1.7") == ("1.2", False)


def test_the_slices_that_it_names(archive: Archive) -> None:
    assert archive.resolved(slices=["1.2.2", "9.9"], frame="1.7") == ("1.2", True)
    assert archive.resolved(named=["1.99"], slices=["1.3.1"]) == ("1.3", True)
    # Of two series that it names, the one whose slices it was drawn on.
    assert archive.resolved(named=["1.2", "1.3"], slices=["1.3.1"]) == ("1.3", True)
    several = archive.refused(slices=["1.2.1", "1.3.1"])
    assert several.reason is Reason.AMBIGUOUS_FILES and "1.2, 1.3" in several.detail


def test_a_frame_of_reference_that_one_series_has(archive: Archive) -> None:
    assert archive.resolved(frame="1.7") == ("1.3", True)
    assert archive.resolved(named=["1.2", "1.3"], frame="1.9") == ("1.2", True)
    # A series that it names and that is not there is not replaced by a neighbour.
    elsewhere = archive.refused(named=["1.8"], frame="1.7")
    assert elsewhere.reason is Reason.IMAGE_MISSING and "series 1.8 (PT)" in elsewhere.detail


def test_nothing_that_tells(archive: Archive) -> None:
    nothing = archive.refused(slices=["9.9"], frame="9.8")
    assert nothing.reason is Reason.IMAGE_MISSING and "1 slices" in nothing.detail
    assert "(not there)" in archive.refused(named=["1.99"]).detail
    # No UID at all, in the object and in the series.
    archive.resolver = Resolver([series("1.2"), series("1.3")], {})
    assert archive.refused().reason is Reason.IMAGE_MISSING


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_a_frame_of_reference_of_several_series(tmp_path: Path, kind: Kind) -> None:
    shared = Archive(tmp_path, kind, series("1.2", frame="1.9"), series("1.3", frame="1.9"))
    assert shared.refused(frame="1.9").reason is Reason.AMBIGUOUS_FILES


@pytest.mark.parametrize("kind", ["rtstruct", "seg"])
def test_slice_uids_that_series_share(tmp_path: Path, kind: Kind) -> None:
    """As de-identifiers leave them: they tell nothing, the frame of reference may."""
    one, other = series("1.2", "1.5", frame="1.9"), series("1.3", "1.5", frame="1.7")
    shared = Archive(tmp_path, kind, one, other)
    assert shared.refused(slices=["1.5"], frame="1.9").reason is Reason.AMBIGUOUS_FILES
    assert shared.resolved(named=["1.3"], slices=["1.5"]) == ("1.3", False)


def test_an_object_is_read_once(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read = referred.read_object

    def counted(path: Path, *arguments: Any) -> Any:
        reads.append(path)
        return read(path, *arguments)

    monkeypatch.setattr(referred, "read_object", counted)
    archive.resolved(named=["1.2"])
    archive.resolved(slices=["1.2.1"])
    archive.resolved(frame="1.7")
    assert len(reads) == 3


def test_no_object(archive: Archive) -> None:
    archive.path.write_bytes(b"")
    with pytest.raises(CaseError) as caught:
        archive.resolver.references_of(archive.path, archive.kind)
    assert caught.value.reason in (Reason.ANNOTATION_UNREADABLE, Reason.TRUNCATED_FILE)
