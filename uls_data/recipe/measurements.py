"""How a recipe says where lines of your own are: tables and files of measurements."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from uls_data.recipe.part import (
    Coordinates,
    DicomPolicy,
    DicomReader,
    Part,
    PatientPattern,
    Regex,
    check_pattern,
)

Kind = Literal["sr", "presentation_states", "structure_sets", "markups", "aim"]
_PIXELS, _MM = ("x1", "y1", "x2", "y2"), ("x1", "y1", "z1", "x2", "y2", "z2")


class LineColumns(Part):
    """Names of the table's columns.

    A column that the recipe names must be there. One that it does not name is used where the
    table has it under the name given here; null: it is not looked for.
    """

    case: str | None = "case"
    """Name of the case, for images that are volumes."""
    report: str | None = "report"
    """File of the report that the row is from, as `mine` writes it. A row without `case` belongs
    to the case that the deepest of its names (the file's without its ending, then those of
    folders) tells that fits the reader's `case`. Where the table has it, rows whose `status` is
    not `ok` are left out."""
    status: str | None = "status"
    series: str | None = "series_instance_uid"
    series_number: str | None = "series_number"
    """SeriesNumber, where no UID is known; with `study` or `case` where several series have it."""
    study: str | None = "study_instance_uid"
    slice: str | None = "sop_instance_uid"
    """UID of the measured slice. Where a row has none, the next of these is used."""
    image_number: str | None = "image_number"
    """InstanceNumber of the measured slice."""
    slice_index: str | None = "slice_index"
    """Number of the measured slice in the scan, by position from the feet, from 0."""
    slice_mm: str | None = "slice_mm"
    """Position of the measured slice along the patient's axis (z, mm)."""
    annotator: str | None = "reader"
    """Only ever used as a hash, to tell readers apart; null where nobody knows."""
    role: str | None = None
    """What the annotator is; null keeps everybody."""
    skip: str | None = "skip"
    """Whether the annotator measured nothing: true or false."""
    skip_reason: str | None = "skip_reason"
    """Why, as `triage --draw` says it."""
    lesion: str | None = "lesion"
    """What distinguishes lesions of one scan. Rows of one scan and value belong to one lesion;
    without it, rows belong to one lesion where their lines meet."""
    track: str | None = "track"
    """What tells a lesion among all those of its patient, in every study; it may be the same column
    as `lesion`. Only ever used as a hash; needs the reader's `patient`."""
    study_date: str | None = "study_date"
    """Day of the study as YYYYMMDD or YYYY-MM-DD, where no DICOM header tells it. Only the days
    between studies reach an output."""
    lesion_type: str | None = "lesion_type"
    """Of the closed list; anything else is a failed row."""
    long: tuple[str, ...] | None = None
    """End points: x1, y1, x2, y2 in pixels, or x1, y1, z1, x2, y2, z2 in mm. Null:
    `long_x1`, ..."""
    short: tuple[str, ...] | None = None
    point: tuple[str, ...] | None = None
    """A point of the lesion, for rows that state lengths alone: x, y in pixels, or x, y, z in mm.
    Null: `point_x`, ... Where the row has end points too, it is the lesion's click."""
    long_length_mm: str | None = "long_axis_mm"
    """Checked against the end points and the slice's spacing."""
    short_length_mm: str | None = "short_axis_mm"

    @field_validator("long", "short")
    @classmethod
    def _ends(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if value is not None and len(value) not in (len(_PIXELS), len(_MM)):
            raise ValueError(f"expected 4 columns (pixels) or 6 (mm), found {len(value)}")
        return value

    @model_validator(mode="after")
    def _placed(self) -> LineColumns:
        ways = (self.slice, self.image_number, self.slice_index, self.slice_mm)
        if not any(ways) and len(self.long or ()) != len(_MM):
            raise ValueError(
                "slice, image_number, slice_index or slice_mm must name a column: nothing else "
                "gives the slice"
            )
        return self


class LineTable(Part):
    """A table with a row for each measurement: CSV, Parquet or XLSX."""

    file: str = Field(min_length=1)
    """Pattern of the table's file name (`*`, `?`), anywhere below the raw root."""
    unit: Literal["pixels", "lps_mm", "ras_mm"] = "pixels"
    """Of the end points: pixels of the slice (column, row), or the patient's millimetres: LPS as in
    DICOM, RAS as in NIfTI and Slicer."""
    columns: LineColumns = LineColumns.model_construct()
    radiologist: Regex = r"(?i:(?!.*\bno[nt]\b)(?:.*\W)?radiologist(?:\W.*)?)"
    """Regular expression that the role of a radiologist fits as a whole. The default leaves out
    `non-radiologist` and `radiologic technologist`."""

    def ends(self, axis: Literal["long", "short", "point"]) -> tuple[str, ...]:
        """Columns of an axis' end points, or of the point."""
        named: tuple[str, ...] | None = getattr(self.columns, axis)
        if named is not None:
            return named
        if axis == "point":
            return ("point_x", "point_y", "point_z")[: 2 if self.unit == "pixels" else 3]
        return tuple(f"{axis}_{way}" for way in (_PIXELS if self.unit == "pixels" else _MM))

    def demanded(self) -> Iterator[tuple[str, str]]:
        """Fields of the recipe, and the columns that they name, which must be there."""
        for name in LineColumns.model_fields:
            value = getattr(self.columns, name)
            if name not in self.columns.model_fields_set or value is None:
                continue
            field = f"reader.table.columns.{name}"
            if isinstance(value, str):
                yield field, value
            else:
                yield from ((f"{field}[{at}]", one) for at, one in enumerate(value))

    @model_validator(mode="after")
    def _unit(self) -> LineTable:
        whole = len(_PIXELS if self.unit == "pixels" else _MM)
        for axis, expected in (("long", whole), ("short", whole), ("point", whole // 2)):
            named = getattr(self.columns, axis)
            if named is not None and len(named) != expected:
                raise ValueError(
                    f"columns.{axis}: unit {self.unit} takes {expected} columns, found {len(named)}"
                )
        return self


class Measurements(DicomReader):
    """Lines that people drew, in a table or in files of viewers, and the CT they were drawn on."""

    name: Literal["measurements"]
    patient: PatientPattern | None = None  # type: ignore[assignment]
    """Null: names of cases do not tell the patient, and rows have no split."""
    images: str | None = None
    """Pattern of volumes, with `{case}`, as for `volume_pairs`; null: DICOM series, in any folders.
    Only tables and Slicer's markups can be of volumes."""
    table: LineTable | None = None
    objects: tuple[Kind, ...] = ()
    """Files that are looked for below the raw root: DICOM structured reports (`sr`), presentation
    states and RT structure sets, Slicer's markups (.mrk.json, .acsv) and AIM (.xml, .json)."""
    drawn: str | None = Field(default=None, min_length=1)
    """Pattern of the names of the tables that `triage --draw` writes, anywhere below the raw root:
    lines that readers drew for the rows of `table` that state sizes alone, such as
    `drawn-lines*.csv`. Null: such rows are left out (`not_measured`)."""
    structures: Regex = r".*"
    """Regular expression that the name of an ROI of a structure set fits as a whole. Names are free
    text and never reach an output."""
    coordinates: Coordinates | None = None
    """How end points in pixels count; needed for a table in pixels. DICOM's own objects count from
    the corner of the first pixel, and AIM likewise; in mm there is nothing to say."""
    nearest_vox: float = Field(default=0.01, ge=0, le=0.5)
    """End points are rounded to this part of a pixel, so that the digits of a file (FL of DICOM has
    seven) decide nothing; 0 leaves them as they are."""
    named_by: Literal["folder", "series"] = "folder"
    """What a DICOM case is called after: the deepest folder above it that fits `case`, or the hash
    of its SeriesInstanceUID (`<source>_` and 12 hexadecimal digits)."""
    stated_lengths: Literal["flag", "fail"] = "flag"
    """A stated length that is not the distance of the end points by the slice's spacing: flag it
    and keep the end points, or fail."""
    lone_lines: Literal["row", "complete"] = "row"
    """A line that nobody drew another across: a skipped row, or a lesion with a short
    axis of the usual share (0.74) across its middle, flagged `axis_assumed`."""
    slices_apart: int = Field(default=1, ge=0, le=5)
    """Measurements this many slices apart can be of one lesion."""
    # Not validated: that would make validators, which a worker does not need.
    policy: DicomPolicy = DicomPolicy.model_construct(lone_slice="keep")

    @field_validator("images")
    @classmethod
    def _images(cls, value: str | None) -> str | None:
        if value is not None:
            check_pattern(value)
            if "{case}" not in value:
                raise ValueError("must hold {case}, the part that names the case")
        return value

    @model_validator(mode="after")
    def _lines(self) -> Measurements:
        if self.table is None and not self.objects:
            raise ValueError("table or objects must say where the lines are")
        if self.table is not None and self.table.unit == "pixels" and self.coordinates is None:
            raise ValueError(
                "coordinates: say how the table's pixels count: shift_vox 0 where (0, 0) is the "
                "first pixel's centre, -0.5 where it is its corner, -1 where its centre is (1, 1)"
            )
        if self.images is not None and set(self.objects) - {"markups"}:
            raise ValueError("images: objects of DICOM and AIM refer to DICOM series, not to files")
        return self


_CCC18_COLUMNS: dict[str, Any] = {
    **dict.fromkeys(("case", "series_number", "study", "image_number", "slice_mm", "lesion")),
    **dict.fromkeys(("report", "status", "skip_reason", "lesion_type", "track", "study_date")),
    "series": "SeriesInstanceUID",
    "slice": "SOPInstanceUID",
    "slice_index": None,
    "annotator": "annotator",
    "role": "radiologist_status",
    "skip": "skip",
    "long": [f"LongAxis.point{end}.{way}" for end in "12" for way in "xy"],
    "short": [f"ShortAxis.point{end}.{way}" for end in "12" for way in "xy"],
    "long_length_mm": "LongAxis.length",
    "short_length_mm": "ShortAxis.length",
}


def from_ccc18(value: Any) -> Any:
    """Reader of a recipe written for the reader `ccc18`, said in the words of `measurements`."""
    if not isinstance(value, dict) or value.get("name") != "ccc18":
        return value
    old = dict(value)
    columns = old.pop("columns", {})
    if isinstance(columns, dict):
        columns = {**_CCC18_COLUMNS, **columns}
    table = {"file": old.pop("table", None), "columns": columns}
    if "radiologist" in old:
        table["radiologist"] = old.pop("radiologist")
    return {
        "stated_lengths": "fail",
        "named_by": "series",
        "nearest_vox": 0,
        "policy": {},
        **old,
        "name": "measurements",
        "table": table,
    }
