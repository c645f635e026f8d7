"""Graphics of presentation states (PS3.3 A.33, C.10.5), in pixels of the images shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import UID

from uls_data.dicom.objects import (
    free_text,
    items,
    parsing,
    raw_value,
    read_object,
    uid,
    unreadable,
    unsigned,
    word,
)
from uls_data.errors import CaseError
from uls_data.outcome import Reason

STATE_CLASSES = tuple(UID(f"1.2.840.10008.5.1.4.1.1.11.{number}") for number in range(1, 9))
MAXIMUM_BYTES = 1 << 25
_MOST_GRAPHICS = 10_000
_FARTHEST = 1e6
_RULERS = ("RULER", "MULTILINE", "RANGELINE", "CUTLINE")


@dataclass(frozen=True)
class Graphic:
    """One graphic object of a state.

    Attributes
    ----------
    kind : str
        Graphic Type: `POINT`, `POLYLINE`, `INTERPOLATED`, `CIRCLE`, `ELLIPSE`; of a compound
        graphic that is a line `POLYLINE`, of any other its Compound Graphic Type.
    points : ndarray, shape (n, 2), float64
        Column and row from the outer corner of the first pixel, of the image as it is stored.
    images : tuple of str
        SOP instance UIDs of the images that it is shown on.
    series : tuple of str
        UIDs of their series.
    track : str
        Tracking UID, or the group that it belongs to; empty where there is none.
    problem : CaseError or None
        Why it cannot be read.
    """

    kind: str
    points: NDArray[np.float64]
    images: tuple[str, ...]
    series: tuple[str, ...]
    track: str = ""
    problem: CaseError | None = None


@dataclass(frozen=True)
class State:
    """A presentation state.

    Attributes
    ----------
    graphics : tuple of Graphic
        In the order of the file.
    images : tuple of str
        All images that the state belongs to.
    series : tuple of str
    creator : str
        Hash of who made it; empty for nobody.
    """

    graphics: tuple[Graphic, ...]
    images: tuple[str, ...]
    series: tuple[str, ...]
    creator: str = field(default="", repr=False)


def read_state(path: Path) -> State:
    """Read a presentation state.

    Raises
    ------
    CaseError
        `annotation_unreadable`, `unsupported_format`, `truncated_file`, `too_large`,
        `unreadable` or `io_error`. What is wrong with one graphic is its `problem`.
    """
    name = path.name
    with parsing(name):
        ds, *_ = read_object(path, STATE_CLASSES, MAXIMUM_BYTES)
        return _Reader(ds, name).state()


class _Reader:
    """One file while it is read."""

    def __init__(self, ds: Dataset, name: str) -> None:
        self.ds, self.name = ds, name
        self.series_of: dict[str, str] = {}
        self.series: list[str] = []
        for one in items(ds, "ReferencedSeriesSequence", name):
            series = uid(one, "SeriesInstanceUID", name) or ""
            self.series += [series] if series else []
            for image in self._images(one):
                self.series_of[image] = series
        self.areas = items(ds, "DisplayedAreaSelectionSequence", name)

    def state(self) -> State:
        """Return the whole state."""
        name = self.name
        graphics: list[Graphic] = []
        for annotation in items(self.ds, "GraphicAnnotationSequence", name):
            images = self._images(annotation) or tuple(self.series_of)
            objects = items(annotation, "GraphicObjectSequence", name)
            compound = items(annotation, "CompoundGraphicSequence", name)
            if len(graphics) + len(objects) + len(compound) > _MOST_GRAPHICS:
                raise CaseError(Reason.TOO_LARGE, f"{name}: more than {_MOST_GRAPHICS:,} graphics")
            graphics += [self._graphic(one, images, "Graphic") for one in objects]
            graphics += [self._graphic(one, images, "CompoundGraphic") for one in compound]
        return State(
            tuple(graphics),
            tuple(self.series_of),
            tuple(dict.fromkeys(self.series)),
            free_text(self.ds, "ContentCreatorName", name).hashed(),
        )

    def _images(self, ds: Dataset) -> tuple[str, ...]:
        found = (
            uid(one, "ReferencedSOPInstanceUID", self.name)
            for one in items(ds, "ReferencedImageSequence", self.name)
        )
        return tuple(dict.fromkeys(one for one in found if one))

    def _graphic(self, ds: Dataset, images: tuple[str, ...], what: str) -> Graphic:
        name = self.name
        kind = word(ds, f"{what}Type", name)
        kind = "POLYLINE" if what == "CompoundGraphic" and kind in _RULERS else kind
        track = uid(ds, "TrackingUID", name) or ""
        group = unsigned(ds, "GraphicGroupID", name)
        track = track or ("" if group is None else f"group {group}")
        known = (self.series_of.get(one) for one in images)
        series = tuple(dict.fromkeys(one for one in known if one)) or tuple(self.series)
        try:
            with parsing(name):
                points = self._points(ds, images, what)
        except CaseError as error:
            return Graphic(kind, np.zeros((0, 2)), images, series, track, error)
        return Graphic(kind, points, images, series, track)

    def _points(self, ds: Dataset, images: tuple[str, ...], what: str) -> NDArray[np.float64]:
        """Points in pixels of the stored image."""
        data = raw_value(ds, "GraphicData", self.name)
        points = np.frombuffer(data[: len(data) // 8 * 8], "<f4").astype(np.float64).reshape(-1, 2)
        if len(points) * 8 != len(data) or not (np.abs(points) <= _FARTHEST).all():
            raise unreadable(self.name, "a graphic whose data are not points")
        keyword = "GraphicAnnotationUnits" if what == "Graphic" else "CompoundGraphicUnits"
        units = word(ds, keyword, self.name)
        if units in ("PIXEL", "MATRIX"):
            return points
        if units != "DISPLAY":
            raise unreadable(self.name, "a graphic that says in no known unit where it is")
        return self._undisplayed(points, images)

    def _undisplayed(
        self, points: NDArray[np.float64], images: tuple[str, ...]
    ) -> NDArray[np.float64]:
        """Points given as shares of the displayed area, which may be turned and flipped.

        The area's corners are pixels of the stored image that stand at its top left and bottom
        right once it is turned (PS3.3 C.10.4), so that their order tells all but a quarter turn.
        """
        corners = self._area(images)
        turn = unsigned(self.ds, "ImageRotation", self.name) or 0
        shares = points[:, ::-1] if turn in (90, 270) else points
        found = np.empty_like(points)
        for axis, (first, last) in enumerate(zip(*corners, strict=True)):
            # From the outer edge of the one pixel to that of the other, counted from 1.
            start, end = (first - 1, last) if first <= last else (first, last - 1)
            found[:, axis] = start + shares[:, axis] * (end - start)
        return found

    def _area(self, images: tuple[str, ...]) -> tuple[Sequence[int], Sequence[int]]:
        """Top left and bottom right pixel of the area in which images are displayed."""
        for one in self.areas:
            of = self._images(one)
            if of and not set(images) <= set(of):
                continue
            corners = []
            for keyword in (
                "DisplayedAreaTopLeftHandCorner",
                "DisplayedAreaBottomRightHandCorner",
            ):
                data = raw_value(one, keyword, self.name)
                if len(data) != 8:
                    raise unreadable(self.name, "a displayed area without corners")
                corners.append(np.frombuffer(data, "<i4").tolist())
            return corners[0], corners[1]
        raise unreadable(self.name, "a graphic in fractions of an area that it does not define")
