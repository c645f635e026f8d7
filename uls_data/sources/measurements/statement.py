"""What a table or a file states of one lesion, before the scan was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from uls_data.measure.lines import Lines
from uls_data.sources.measurement import Measurement

NOWHERE = Lines((0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))
Point = tuple[float, ...]


class Kind(StrEnum):
    """What somebody drew."""

    LINE = "line"
    OUTLINE = "outline"
    POINT = "point"


@dataclass(frozen=True)
class Shape:
    """One thing that was drawn on one slice.

    Attributes
    ----------
    kind : Kind
    points : tuple of (column, row) or (x, y, z)
        Of a line two, of an outline three or more, of a point one. Columns and rows are zero-based,
        pixel centres at whole numbers; x, y, z are RAS mm.
    role : str
        `long` or `short`, where the source says which axis a line is.
    slice_name : str
        SOPInstanceUID of the slice, where the source names it for this shape alone.
    stated_mm : float or None
        Length of a line as the source states it.
    """

    kind: Kind
    points: tuple[Point, ...]
    role: str = ""
    slice_name: str = ""
    stated_mm: float | None = None


@dataclass(frozen=True)
class Place:
    """Which slice of which scan something was drawn on, by whatever its source says.

    Attributes
    ----------
    case, series, study, frame, slice_name : str
        Name of the case, UIDs of series, study, frame of reference and slice; empty where the
        source does not say.
    series_number, image_number, slice_index : int or None
        The last counts slices from the feet, from 0.
    slice_mm : float or None
        Along the patient's z.
    folder : Path or None
        Of a file that names no scan: it belongs to the only one beside it or above it.
    names : tuple of str
        Of folders that tell scans apart where all else fits several.
    """

    case: str = ""
    series: str = ""
    study: str = ""
    frame: str = ""
    slice_name: str = ""
    series_number: int | None = None
    image_number: int | None = None
    slice_index: int | None = None
    slice_mm: float | None = None
    folder: Path | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statement(Measurement):
    """What one reader states of one lesion, in one row or one group of an object.

    `number` is the statement's among those of its scan and `reader` its reader's, until the lesions
    are told apart beside the slices (`uls_data.sources.measurements.lesions`); `lines` and
    `slice_name` are those of the base once they are placed.

    Attributes
    ----------
    source : Path
        Its file, relative to the raw root.
    place : Place
    shapes : tuple of Shape
    drawn_by : str
        Hash that tells readers apart; empty where nobody knows.
    lesion : str
        Hash of what tells lesions apart by the source's own word: others are other lesions.
    track : str
        Hash of what follows a lesion; others may be the same lesion.
    named : str
        Hash of the table's own word for the lesion in all studies of its patient.
    follows : str
        What follows the lesion over time (`uls_data.ids.track_id`); empty where nothing does.
    request : str
        Name of the lesion (`REQUEST`), where sizes were stated and readers are asked for
        the lines; in what they drew, that of the lesion which they were asked for.
    asked : Place or None
        Where the lesion is that readers are or were asked for.
    """

    number: int = 0
    source_lesion_id: str = ""
    slice_name: str = ""
    lines: Lines = NOWHERE
    source: Path = Path()
    place: Place = Place()
    shapes: tuple[Shape, ...] = ()
    drawn_by: str = field(default="", repr=False)
    lesion: str = field(default="", repr=False)
    track: str = field(default="", repr=False)
    named: str = field(default="", repr=False)
    follows: str = ""
    request: str = ""
    asked: Place | None = None
