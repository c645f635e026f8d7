"""What a recipe may say: a pydantic model, which also writes the JSON Schema.

A recipe says *what* a source is; the package knows *how* to read it. It names
things from closed lists and holds no code.
"""

from __future__ import annotations

import re
from collections import Counter
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from uls_data.ids import check_voi_pattern, voi_id_regex
from uls_data.outcome import AnnotationScope, LesionType
from uls_data.recipe.part import Part, Regex
from uls_data.recipe.pinned import Fetch
from uls_data.recipe.reader import Reader

SLUG = r"^[a-z][a-z0-9_]{0,63}$"


class Quirk(StrEnum):
    """Named departures from tidy volumes that a recipe accepts or insists on."""

    IDENTITY_AFFINE_HIDES_SPACING = "identity_affine_hides_spacing"
    IMAGE_AFFINE_WINS = "image_affine_wins"
    FLOAT_MASK = "float_mask"
    TRAILING_AXIS = "trailing_axis"
    SLICES_ON_AXIS_0 = "slices_on_axis_0"


QUIRK_MEANING = {
    Quirk.IDENTITY_AFFINE_HIDES_SPACING: (
        "voxels of 1 x 1 x 1 mm mean that the spacing was lost, whatever the orientation and "
        "the origin: mm columns are null, flagged `spacing_unknown`. Without it, 1 mm is believed."
    ),
    Quirk.IMAGE_AFFINE_WINS: (
        "a mask on an equal grid whose header has axes flipped, an origin within a voxel or a "
        "spacing within 1 % of the image's is laid over it voxel by voxel, flagged "
        "`mask_affine_ignored`. Anything farther off fails; without it, so does this."
    ),
    Quirk.FLOAT_MASK: (
        "masks stored as floating point, or with a scale, are read if every value is whole. "
        "Without it, they fail."
    ),
    Quirk.TRAILING_AXIS: (
        "trailing axes of length 1 are dropped, flagged `trailing_axis_dropped`. Without it, "
        "such a file fails."
    ),
    Quirk.SLICES_ON_AXIS_0: (
        "the stored axis 0 must be the one along the body, as in KiTS; a header that says "
        "otherwise (KiTS19 before April 2019) fails instead of giving turned volumes."
    ),
}
DEFAULT_QUIRKS = (Quirk.FLOAT_MASK, Quirk.TRAILING_AXIS)
_LOST_SPACING_MM = 1e-3


class SizeMeasure(StrEnum):
    """What a minimum-size rule measures, on the whole lesion in the scan."""

    INERTIA_MAJOR_VOX = "inertia_major_vox"
    """sqrt(20 x largest eigenvalue of the covariance of voxel indices): the ULS23 rule."""
    INERTIA_MINOR_VOX = "inertia_minor_vox"
    """The same with the smallest eigenvalue: the ULS23 rule for NIH-LN."""
    LONG_AXIS_VOX = "long_axis_vox"
    LONG_AXIS_MM = "long_axis_mm"
    SHORT_AXIS_VOX = "short_axis_vox"
    SHORT_AXIS_MM = "short_axis_mm"
    MASK_VOXELS = "mask_voxels"
    VOLUME_MM3 = "volume_mm3"
    RECIST_LONG_VOX = "recist_long_vox"
    """Of the reader's long axis; only where lesions are measurements."""
    RECIST_LONG_MM = "recist_long_mm"


class Licence(Part):
    """Terms of the source's images, as its own page states them."""

    name: str = Field(min_length=2)
    """SPDX-like name, such as `CC-BY-SA-4.0`; `unknown` where none is stated."""
    url: str | None = None
    """Where the terms stand."""
    redistributable: bool | None
    """Whether VOIs cut from it may be passed on; null where that is not known."""
    evidence: str = Field(min_length=5)
    """Where this was read, and what stays open."""
    attribution: str | None = None
    """Line that must accompany the data."""


class Components(Part):
    """Each connected component of the lesion values is a lesion."""

    rule: Literal["components"]
    values: tuple[int, ...] = Field(min_length=1)
    """Mask values that are lesion; all others are background."""
    others: tuple[int, ...] | None = None
    """Values beside them and 0 that masks may hold. A mask with any other fails: it may be of
    another release, where the same numbers mean other things. Null: any value may occur."""
    connectivity: Literal[6, 18, 26] = 6
    """Published: 6 (faces only)."""
    keep: Literal["all", "largest"] = "all"
    """`largest` keeps one lesion a case: the component with most voxels."""

    @property
    def allowed(self) -> tuple[int, ...] | None:
        """All values that masks may hold, 0 among them; None where any may occur."""
        return None if self.others is None else tuple(sorted({0, *self.values, *self.others}))


class Values(Part):
    """Each non-zero value of the mask is one lesion, whose number is the value."""

    rule: Literal["values"]


class Files(Part):
    """Each lesion has files of its own, one per annotator, joined by majority vote."""

    rule: Literal["files"]


class Given(Part):
    """Lesions are what the source's own annotations name: nodules, findings, structures."""

    rule: Literal["given"]


Instances = Annotated[Components | Values | Files | Given, Field(discriminator="rule")]


class MinimumSize(Part):
    """A lesion below it becomes a row with status `skipped`."""

    measure: SizeMeasure
    at_least: float = Field(gt=0, allow_inf_nan=False)
    exclusive: bool = False
    """Whether a lesion of exactly that size is too small as well."""


class Published(Part):
    """What the ULS23 archive calls this source."""

    folder: str | None = None
    """Folder name in the published archive."""


class Counts(Part):
    """What the index of the archive counts of what `fetch.idc` names."""

    objects: int = Field(ge=1)
    """Annotations that `reader.objects` fits: series of structure sets or segmentations, a lesion,
    a scan or a reading each, as the source has it."""
    with_images: int = Field(ge=1)
    """Of those, the ones in a study that has CT: the others are drawn on MR or PET."""
    patients: int = Field(ge=1)
    """Patients of all of them."""
    images: int = Field(ge=1)
    """CT series in the studies of all annotations, whether or not one is of them."""
    gigabytes: float = Field(gt=0)
    """Of annotations and images, in 10^9 bytes."""


class Expectation(Part):
    """The paper's Table 1 row of this source (None where it has none), and an index's counts."""

    counts: Counts | None = None

    series: int | None = None
    lesions: int | None = None
    long_axis_vox: tuple[float, float] | None = None
    """Mean and sample standard deviation."""
    short_axis_vox: tuple[float, float] | None = None


class NamedType(Part):
    """A lesion type by the name of a structure, of its object, or by a code of its segment."""

    name: Regex | None = None
    """Regular expression that the ROI's name, or the segment's label, fits as a whole."""
    series: Regex | None = None
    """Regular expression that the SeriesDescription of its object fits as a whole."""
    code: str | None = Field(default=None, pattern=r"^[A-Za-z0-9]{1,16}:[A-Za-z0-9.-]{1,16}$")
    """Scheme and value of a segment's anatomic region or property type, such as `SCT:10200004`."""
    type: LesionType

    @model_validator(mode="after")
    def _one(self) -> NamedType:
        if sum(value is not None for value in (self.name, self.series, self.code)) != 1:
            raise ValueError("needs one of name, series and code")
        return self


class NamedScope(Part):
    """Which lesions of a scan are annotated, by the object that annotates it."""

    series: Regex
    """Regular expression that the SeriesDescription of the object fits as a whole."""
    scope: AnnotationScope


class Timeline(Part):
    """How studies of a patient, and lesions in them, hang together over time.

    Without it, days are those of DICOM headers, and lesions are followed by their Tracking UIDs.
    """

    day: Regex | None = None
    """Regular expression over the case's name, whose first group is a whole number of days since
    anything that is the same for all studies of a patient."""
    date: Regex | None = None
    """Likewise; the first group is the day of the study as YYYYMMDD or YYYY-MM-DD. Only the days
    between studies reach an output."""
    track: Regex | None = None
    """Regular expression that the name of a structure fits as a whole; what its first group holds
    names the lesion among those of the patient. Names never reach an output."""
    series: Regex | None = None
    """Likewise of the SeriesDescription of its object."""
    numbers: bool = False
    """Lesions of one number are one lesion in all studies of a patient."""

    @field_validator("day", "date", "track", "series")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        if value is not None and re.compile(value).groups != 1:
            raise ValueError("needs exactly one group (...)")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Timeline:
        if self.day is not None and self.date is not None:
            raise ValueError("expected either day or date, not both")
        if (self.track is not None) + (self.series is not None) + self.numbers > 1:
            raise ValueError("expected one of track, series and numbers")
        return self


class Overlap(Part):
    """Another source that holds some of the same scans."""

    source: str = Field(pattern=SLUG)
    told_by: Literal["series", "patient", "voxels"]
    """What tells which scans: UIDs of series, ids of patients, or nothing but their voxels."""
    evidence: str = Field(min_length=10)
    """How it is known."""


# Of a part of a set.
PART_NAME = "[a-z][a-z0-9_]{0,30}"


def _strings(value: Any) -> Any:
    if isinstance(value, list | tuple):
        bad = [item for item in value if not isinstance(item, str)]
        if bad:
            raise ValueError(f"write ids in quotes, so that zeros in front survive: {bad[0]!r}")
    return value


class Recipe(Part):
    """One source of lesions: where it comes from, how it is read, what counts as a lesion."""

    schema_version: Literal[1]
    source: str = Field(pattern=SLUG)
    """Lower-case name; folder and manifest of a build are called after it."""
    title: str
    recipe_version: int = Field(ge=1, le=2**31 - 1)
    """Raised with every change that alters data."""
    licence: Licence
    citation: str
    """How to cite the source, in words."""
    access: tuple[str, ...] = Field(min_length=1)
    """Steps to the raw data, in words."""
    fetch: Fetch | None = None
    """What `uls-data fetch` can download of it; no part of what a build makes."""
    reader: Reader
    instances: Instances
    minimum_size: MinimumSize | None
    lesion_type: LesionType
    lesion_types: tuple[NamedType, ...] = ()
    """Types by the structures of DICOM objects: the first that fits, else `lesion_type`. Names are
    free text and never reach an output."""
    annotation_scope: AnnotationScope = AnnotationScope.UNKNOWN
    """Which lesions of a scan are annotated: `all` of the kind that the source is about; only the
    `target` of a study or a treatment, such as the primary tumour; `some`, others of the same kind
    being left out; or `unknown`. Outside `all`, what is not marked may still be lesion."""
    annotation_scopes: tuple[NamedScope, ...] = ()
    """The same by the objects of a scan: the first that fits, else `annotation_scope`."""
    timeline: Timeline = Timeline.model_construct()
    supervision: Literal["full", "weak_2d"] = "full"
    voi_name: str = "{case}_lesion_{lesion:02d}_sample_{sample}"
    """Published name: `{case}`, `{lesion:02d}` and, if it has one, `{sample}`."""
    quirks: tuple[Quirk, ...] = DEFAULT_QUIRKS
    heldout_patients: Annotated[tuple[str, ...], BeforeValidator(_strings)] = ()
    """Patient ids, as the `patient` rule gives them, that must never train."""
    splits: dict[
        Annotated[str, Field(pattern=f"^{PART_NAME}$")],
        Annotated[tuple[str, ...], BeforeValidator(_strings)],
    ] = Field(default={})
    """Parts of a set of your own, such as `validation` and `test`, and their patients, as
    `uls-data split` draws them: the column `source_split`. Whether they may train is said by
    `heldout_patients` alone."""
    overlaps: tuple[Overlap, ...] = ()
    """Other sources with some of the same scans, each pair in one of the two recipes. They do not
    change what a build makes."""
    expect: Expectation = Expectation.model_construct()
    published: Published = Published.model_construct()
    verified: str = ""
    """How what it says was checked, and on what."""
    notes: tuple[str, ...] = ()
    """What was decided and why."""

    @field_validator("voi_name")
    @classmethod
    def _voi_name(cls, value: str) -> str:
        check_voi_pattern(value)
        if "{case}" not in value:
            raise ValueError("must hold {case}, or two cases would get one name")
        if "/" in value:
            raise ValueError("is a file name, not a path")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        weak = self.supervision == "weak_2d"
        if "{lesion" not in self.voi_name and not weak:
            raise ValueError("voi_name: must hold {lesion:02d}, or two lesions get one name")
        self.reader.check_rule(self.instances.rule)
        for field in ("lesion_types", "annotation_scopes"):
            if getattr(self, field) and self.reader.name != "dicom_objects":
                raise ValueError(
                    f"{field}: reader {self.reader.name} has no structures; dicom_objects does"
                )
        for field in ("track", "series"):
            if getattr(self.timeline, field) is not None and self.reader.name != "dicom_objects":
                raise ValueError(
                    f"timeline.{field}: reader {self.reader.name} has no structures; "
                    f"dicom_objects does"
                )
        if self.timeline.numbers and self.instances.rule == "components":
            raise ValueError("timeline.numbers: components have other numbers in every mask")
        for patient in self.heldout_patients:
            if len(patient) == 0:
                raise ValueError("heldout_patients: an empty id")
        parted = Counter(patient for patients in self.splits.values() for patient in patients)
        if twice := [patient for patient, count in parted.items() if count > 1]:
            raise ValueError(f"splits: {twice[0]!r} is listed twice")
        return self

    def voi_regex(self) -> re.Pattern[str]:
        """Regex of this source's VOI names, with the groups case, lesion and sample."""
        return voi_id_regex(self.voi_name, self.reader.case_id)

    def patient_of(self, case_id: str) -> str | None:
        """Patient id of a case by the recipe's rule; None where its name does not tell it."""
        return self.reader.patient_of(case_id)

    def hides_spacing(self, spacing_mm: tuple[float, ...]) -> bool:
        """Whether voxels of this size (RAS, mm) mean that the source lost their true size."""
        return Quirk.IDENTITY_AFFINE_HIDES_SPACING in self.quirks and all(
            abs(length - 1) <= _LOST_SPACING_MM for length in spacing_mm
        )

    def split_of(self, patient_id: str | None) -> Literal["train", "heldout"] | None:
        """`heldout` for the recipe's held-out patients; None where the patient is not known."""
        if patient_id is None:
            return None
        return "heldout" if patient_id in self.heldout_patients else "train"

    def part_of(self, patient_id: str | None) -> str | None:
        """Part of the source that a patient is in (`splits`); None where in none."""
        return next((name for name, ids in self.splits.items() if patient_id in ids), None)
