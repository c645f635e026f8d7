"""How a recipe says where its images and annotations lie, and how they are read."""

from __future__ import annotations

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


class Part(BaseModel):
    """Base of all parts: unknown fields are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


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


class VolumePairs(Part):
    """Pairs of image and mask volumes: .nii, .nii.gz, .mha, .mhd, .nrrd, in any orientation."""

    name: Literal["volume_pairs"]
    layouts: tuple[Layout, ...] = Field(min_length=1)
    case: CasePattern = r"[^/]+?"
    """Regular expression of a case's name."""
    patient: PatientPattern = r"(.*)"
    """Regular expression over the case's name whose first group is the patient's id."""


class DicomPolicy(Part):
    """What to do with series that are no even stack of slices; never a resampling."""

    duplicate_positions: Literal["fail", "first_instance_number"] = "fail"
    """Slices that share a position: fail, or keep the one of the lowest InstanceNumber."""
    uneven_share: float = Field(default=0.1, gt=0, lt=0.5)
    """How far a slice may lie from an even stack, as a share of the step between slices."""


class _DicomReader(Part):
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


class DicomObjects(_DicomReader):
    """DICOM CT series with RTSTRUCT or SEG objects that refer to them, in any folders."""

    name: Literal["dicom_objects"]
    kind: Literal["rtstruct", "seg"]
    structures: Annotated[str, BeforeValidator(_regex)] = r".*"
    """Regular expression that the name of a lesion's ROI, or its segment's label, fits as a whole.
    Names are free text and never reach an output."""


class Reference(Part):
    """A published name of the source, and the series and patient behind it."""

    case: str
    series_instance_uid: str
    patient: str


class LidcXml(Part):
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


class Lndb(Part):
    """LNDb: MetaImage volumes, a mask of finding numbers per reader, and the tables."""

    name: Literal["lndb"]
    case: CasePattern
    patient: PatientPattern
    consensus: Literal["union", "majority", "first", "each"] = "union"
    """Which voxels are lesion: those of any reader, of most, or of the first reader alone; `each`
    makes every reader's mask a lesion of its own."""
    at_least: int = Field(default=1, ge=1, le=3)
    """Readers who must have segmented a nodule."""


class ArchiveOnly(Part):
    """No raw reader yet: the recipe serves `index`, `stats` and splits of the published data."""

    name: Literal["archive_only"]
    case: CasePattern
    patient: PatientPattern | None = r"(.*)"
    """As above; null where the published name does not tell the patient."""
    why: str


Reader = Annotated[
    VolumePairs | DicomMasks | DicomObjects | LidcXml | Lndb | ArchiveOnly,
    Field(discriminator="name"),
]
