"""How a recipe says where its images and annotations lie, and how they are read."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

# Each * multiplies what a search may try on one name.
_MOST_STARS, _LONGEST_PATTERN = 12, 500


class Part(BaseModel):
    """Base of all parts: unknown fields are errors, values do not change."""

    # Validators are made when first used: workers are handed parts, and check none.
    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True
    )


def _regex(value: Any) -> Any:
    if not isinstance(value, str):
        return value  # pydantic says what is wrong with it
    try:
        # It becomes part of longer ones, in a group of its own.
        re.compile(f"x(?P<case>{value})(?P=case)")
        if re.compile(value).groupindex:
            raise ValueError("groups cannot have names here")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(
            f"not a regular expression that can stand in a pattern: {error}"
        ) from error
    return value


def _one_group(value: str) -> str:
    if re.compile(value).groups != 1:
        raise ValueError("needs exactly one group (...), which is the patient's id")
    return value


CasePattern = Annotated[str, BeforeValidator(_regex)]
PatientPattern = Annotated[str, BeforeValidator(_regex), AfterValidator(_one_group)]


class Layout(Part):
    """One way in which the source lies on disk; the first that finds a case is used."""

    name: str = Field(min_length=1)
    image: str
    """Pattern below the raw root: `*`, `?`, `**/`, `{ext}` for any volume suffix and `{case}`
    for the case's name, once or more."""
    mask: str
    """Pattern of the mask that belongs to the image with the same `{case}`. One of the two may
    lack `{case}`; it then belongs to the one case that the other finds."""
    instances: str | None = None
    """Pattern with `{instance}` and `{annotation}` of per-lesion masks, for `rule: files`."""

    @field_validator("image", "mask", "instances")
    @classmethod
    def _pattern(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        if len(re.sub(r"\*+", "*", value)) > _LONGEST_PATTERN or value.count("*") > _MOST_STARS:
            raise ValueError(
                f"more than {_MOST_STARS} * or {_LONGEST_PATTERN} characters: no file needs that"
            )
        if value.startswith("/") or ".." in value.split("/"):
            raise ValueError("must lie below the raw root: no leading / and no ..")
        fields = re.findall(r"\{(\w*)", value)
        once = ["instance", "annotation"] if info.field_name == "instances" else []
        unknown = set(fields) - {"case", "ext", *once}
        if unknown:
            raise ValueError(f"the field {{{min(unknown)}}} does not belong here")
        for field in once:
            if fields.count(field) != 1:
                raise ValueError(f"must hold {{{field}}} exactly once")
        return value

    @model_validator(mode="after")
    def _named(self) -> Layout:
        if "{case}" not in self.image and "{case}" not in self.mask:
            raise ValueError("image or mask must hold {case}, the part that names the case")
        if self.instances is not None and "{case}" not in self.instances:
            raise ValueError("instances must hold {case}, the part that names the case")
        return self


class ReaderPart(Part):
    """Base of all readers."""

    def patient_of(self, case_id: str) -> str | None:
        """Patient id of a case by the rule; None where its name does not tell it."""
        pattern: str | None = getattr(self, "patient", None)
        match = re.fullmatch(pattern, case_id) if pattern is not None else None
        return match[1] if match else None

    def check_rule(self, rule: str) -> None:
        """Refuse a rule of `instances` that the reader cannot serve.

        Raises
        ------
        ValueError
        """

    def described(self) -> list[str]:
        """Lines for people: what is read, and from where."""
        options = self.model_dump(mode="json", exclude={"crosswalk"}, exclude_none=True)
        return [f"Reader: {json.dumps(options)}"]


Segments = Annotated[str, BeforeValidator(_regex)] | None


def _check_segments(segments: str | None, rule: str) -> None:
    """Refuse rules that do not go with what is known of a mask's segments."""
    if segments is None and rule == "given":
        raise ValueError(
            "instances.rule is 'given', which needs reader.segments: names of the segments that "
            "are lesions, in .seg.nrrd files; masks without names go with components or values"
        )
    if segments is not None and rule not in ("given", "components"):
        raise ValueError(
            f"instances.rule is {rule!r}; with reader.segments it is 'given' (each segment is a "
            "lesion) or 'components' (those of all of them together)"
        )


class VolumePairs(ReaderPart):
    """Pairs of image and mask volumes: .nii, .nii.gz, .mha, .mhd, .nrrd, in any orientation."""

    name: Literal["volume_pairs"]
    layouts: tuple[Layout, ...] = Field(min_length=1)
    case: CasePattern = r"[^/]+?"
    """Regular expression of a case's name."""
    patient: PatientPattern = r"(.*)"
    """Regular expression over the case's name whose first group is the patient's id."""
    segments: Segments = None
    """For masks that are .seg.nrrd files of 3D Slicer: regular expression that the name of a
    lesion's segment fits as a whole. Segments may overlap. Names never reach an output."""

    def check_rule(self, rule: str) -> None:
        """Refuse `files` without their pattern, and what does not go with `segments`."""
        _check_segments(self.segments, rule)
        for layout in self.layouts if rule == "files" else ():
            if layout.instances is None:
                raise ValueError(
                    f"instances.rule is 'files' but layout {layout.name!r} "
                    "has no `instances` pattern"
                )

    def described(self) -> list[str]:
        """Lines for people: the layouts."""
        lines = [f"  {layout.name}: {layout.image}  with  {layout.mask}" for layout in self.layouts]
        return ["Files below --raw (the first layout that is found):", *lines]


class DicomPolicy(Part):
    """What to do with series that are no even stack of slices; never a resampling."""

    duplicate_positions: Literal["fail", "first_instance_number"] = "fail"
    """Slices that share a position: fail, or keep the one of the lowest InstanceNumber."""
    uneven_share: float = Field(default=0.1, gt=0, lt=0.5)
    """How far a slice may lie from an even stack, as a share of the step between slices."""


class _DicomReader(ReaderPart):
    case: CasePattern
    """Regular expression of a case's name. A series belongs to the case that a folder above it is
    called after, or that its header's PatientID names, if that fits the expression as a whole:
    no other id of a header is ever used."""
    patient: PatientPattern = r"(.*)"
    """As for `volume_pairs`."""
    policy: DicomPolicy = DicomPolicy()


class DicomMasks(_DicomReader):
    """One DICOM CT series a case, in any folders, and a mask volume of its name."""

    name: Literal["dicom_masks"]
    mask: str
    """Pattern of the mask, with `{case}`, as for `volume_pairs`."""
    segments: Segments = None
    """Regular expression of the names of segments that are lesions, as for `volume_pairs`."""

    def check_rule(self, rule: str) -> None:
        """Refuse what does not go with `segments`."""
        _check_segments(self.segments, rule)


class DicomObjects(_DicomReader):
    """DICOM CT series with RTSTRUCT or SEG objects that refer to them, in any folders."""

    name: Literal["dicom_objects"]
    kind: Literal["rtstruct", "seg"]
    structures: Annotated[str, BeforeValidator(_regex)] = r".*"
    """Regular expression that the name of a lesion's ROI, or its segment's label, fits as a whole.
    Names are free text and never reach an output."""
    several: Literal["all", "latest", "fail"] = "all"
    """What to do with several objects of one series, as corrected structure sets are: read all, and
    flag masks that are equal or overlap; read only the one that was written last, by its header's
    date; or fail."""


class Reference(Part):
    """A published name of the source, and the series and patient behind it."""

    case: str
    series_instance_uid: str
    patient: str


class LidcXml(ReaderPart):
    """LIDC-IDRI: DICOM series, and the XML files of its readers, in any folders."""

    name: Literal["lidc_xml"]
    case: CasePattern
    """Regular expression of the published names of cases."""
    patient: None = None
    """The crosswalk tells it."""
    policy: DicomPolicy = DicomPolicy()
    crosswalk: tuple[Reference, ...]
    """Name of a tab-separated file beside the recipe (or `SOURCE/NAME`, of a shipped one): which
    series has which published name."""
    outline: Literal["outside", "inside"] = "outside"
    """Whether the voxels of a reader's outline lie outside the nodule (LIDC's own convention)."""
    consensus: Literal["any", "majority", "all"] = "any"
    """Which voxels are lesion: those of any reader who marked it, of most, or of all."""
    at_least: int = Field(default=1, ge=1, le=4)
    """Readers who must have outlined a nodule."""
    span: Literal["all", "longest"] = "all"
    """Which slices of a nodule count: all, or those of the one reading that spans most of them, as
    in the published labels."""

    def patient_of(self, case_id: str) -> str | None:
        """Patient id of a case, by the crosswalk."""
        return next((row.patient for row in self.crosswalk if row.case == case_id), None)


class Lndb(ReaderPart):
    """LNDb: MetaImage volumes, a mask of finding numbers per reader, and the tables."""

    name: Literal["lndb"]
    case: CasePattern
    patient: PatientPattern
    consensus: Literal["union", "majority", "first", "each"] = "union"
    """Which voxels are lesion: those of any reader, of most, or of the first reader alone; `each`
    makes every reader's mask a lesion of its own."""
    at_least: int = Field(default=1, ge=1, le=3)
    """Readers who must have segmented a nodule."""


class Coordinates(Part):
    """Where a source's end points lie against pixel centres at whole, zero-based numbers."""

    shift_vox: float = Field(ge=-2, le=2)
    """Added to x and y of every end point to count from the first pixel's centre."""
    outward_vox: float = Field(ge=0, le=2)
    """How far the lesion reaches beyond the end points: 0 where they are centres of its outermost
    pixels, 0.5 where they are the edges of those."""
    evidence: str = Field(min_length=5)
    """How that is known."""


class DeepLesion(ReaderPart):
    """DeepLesion: 16-bit PNG slices, in folders or in their zip archives, and DL_info.csv."""

    name: Literal["deeplesion"]
    case: CasePattern
    """Regular expression of a key slice's name, `<patient>_<study>_<series>_<slice>`."""
    patient: PatientPattern
    table: str = "DL_info.csv"
    """Name of the table's file, anywhere below the raw root."""
    coordinates: Coordinates


class Ccc18Columns(Part):
    """Names of the table's columns; a null one is not looked for."""

    series: str = "SeriesInstanceUID"
    slice: str | None = "SOPInstanceUID"
    """UID of the measured slice; where null, `slice_index` is used."""
    slice_index: str | None = None
    """Number of the measured slice in the series, by position from the feet, from 0."""
    annotator: str = "annotator"
    """Only ever used as a hash, to tell annotators apart."""
    role: str | None = "radiologist_status"
    """What the annotator is; null keeps everybody."""
    skip: str | None = "skip"
    """Whether the annotator measured nothing: true or false."""
    long: tuple[str, str, str, str] = (
        *("LongAxis.point1.x", "LongAxis.point1.y"),
        *("LongAxis.point2.x", "LongAxis.point2.y"),
    )
    short: tuple[str, str, str, str] = (
        *("ShortAxis.point1.x", "ShortAxis.point1.y"),
        *("ShortAxis.point2.x", "ShortAxis.point2.y"),
    )
    long_length_mm: str | None = "LongAxis.length"
    """Checked against the end points and the slice's spacing."""
    short_length_mm: str | None = "ShortAxis.length"

    @model_validator(mode="after")
    def _placed(self) -> Ccc18Columns:
        if self.slice is None and self.slice_index is None:
            raise ValueError("slice or slice_index must name a column")
        return self


class Ccc18(_DicomReader):
    """Crowds Cure Cancer: DICOM series of several collections, and a table of measurements."""

    name: Literal["ccc18"]
    patient: PatientPattern | None = None  # type: ignore[assignment]
    """Null: the patient is the series', by its header's PatientID only where `case` fits it."""
    table: str = Field(min_length=1)
    """Pattern of the table's file name (`*`, `?`), anywhere below the raw root."""
    columns: Ccc18Columns = Ccc18Columns()
    radiologist: Annotated[str, BeforeValidator(_regex)] = (
        r"(?i:(?!.*\bno[nt]\b)(?:.*\W)?radiologist(?:\W.*)?)"
    )
    """Regular expression that the role of a radiologist fits as a whole. The default leaves out
    `non-radiologist` and `radiologic technologist`."""
    coordinates: Coordinates
    slices_apart: int = Field(default=1, ge=0, le=5)
    """Measurements this many slices apart can be of one lesion."""


class ArchiveOnly(ReaderPart):
    """No raw reader yet: the recipe serves `index`, `stats` and splits of the published data."""

    name: Literal["archive_only"]
    case: CasePattern
    patient: PatientPattern | None = r"(.*)"
    """As above; null where the published name does not tell the patient."""
    why: str

    def described(self) -> list[str]:
        """Lines for people: why there is no raw reader."""
        return [f"Raw data: {' '.join(self.why.split())}"]


Reader = Annotated[
    VolumePairs | DicomMasks | DicomObjects | LidcXml | Lndb | DeepLesion | Ccc18 | ArchiveOnly,
    Field(discriminator="name"),
]
