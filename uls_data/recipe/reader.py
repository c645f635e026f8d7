"""How a recipe says where its images and annotations lie, and how they are read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from uls_data.recipe.measurements import Measurements, from_ccc18
from uls_data.recipe.part import (
    CasePattern,
    Coordinates,
    DicomPolicy,
    DicomReader,
    Part,
    PatientPattern,
    ReaderPart,
    Regex,
    RootPath,
    check_pattern,
)


class Layout(Part):
    """One way in which the source lies on disk; the first that finds a case is used."""

    name: str = Field(min_length=1)
    image: str
    """Pattern below the raw root: `*`, `?`, `**/`, `{ext}` for any volume suffix and `{case}`
    for the case's name, once or more."""
    mask: str | None = None
    """Pattern of the mask that belongs to the image with the same `{case}`. One of the two may
    lack `{case}`; it then belongs to the one case that the other finds. Null: there is none, with
    `rule: files` alone."""
    instances: str | None = None
    """Pattern of the masks of several readers, for `rule: files`: with `{annotation}`, the number
    of the reader, and, where each lesion has files of its own, with `{instance}`."""

    @field_validator("image", "mask", "instances")
    @classmethod
    def _pattern(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        own = ["instance", "annotation"] if info.field_name == "instances" else []
        fields = check_pattern(value, *own)
        if own and fields.count("annotation") != 1:
            raise ValueError("must hold {annotation} exactly once")
        if fields.count("instance") > 1:
            raise ValueError("must hold {instance} once, or not at all")
        return value

    @model_validator(mode="after")
    def _named(self) -> Layout:
        if self.mask is None and self.instances is None:
            raise ValueError("needs mask or instances: where are the masks?")
        if "{case}" not in self.image and "{case}" not in (self.mask or ""):
            raise ValueError("image or mask must hold {case}, the part that names the case")
        if self.instances is not None and "{case}" not in self.instances:
            raise ValueError("instances must hold {case}, the part that names the case")
        return self

    @property
    def masks(self) -> str:
        """Pattern of its masks, for people."""
        return self.mask or self.instances or ""


Segments = Regex | None


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
    layouts: tuple[Layout, ...] = ()
    datalist: RootPath | None = None
    """Instead of layouts: a JSON file below the raw root that lists images and labels, as MONAI,
    the Decathlon and nnU-Net (`dataset` of dataset.json) write it. Paths in it are relative to its
    folder; none may lead out of the raw root."""
    case: CasePattern = r"[^/]+?"
    """Regular expression of a case's name."""
    patient: PatientPattern = r"(.*)"
    """Regular expression over the case's name whose first group is the patient's id."""
    segments: Segments = None
    """For masks that are .seg.nrrd files of 3D Slicer: regular expression that the name of a
    lesion's segment fits as a whole. Segments may overlap. Names never reach an output."""

    @model_validator(mode="after")
    def _one_way(self) -> VolumePairs:
        if bool(self.layouts) == (self.datalist is not None):
            raise ValueError(
                "needs layouts (patterns of files) or datalist (a JSON file), not both"
            )
        return self

    def check_rule(self, rule: str) -> None:
        """Refuse `files` without their pattern, and what does not go with `segments`."""
        _check_segments(self.segments, rule)
        if rule == "files" and self.datalist is not None:
            raise ValueError("instances.rule is 'files', which needs layouts, not a datalist")
        for layout in self.layouts:
            if rule != "files" and layout.mask is None:
                raise ValueError(
                    f"instances.rule is {rule!r}, and layout {layout.name!r} has no `mask` pattern"
                )
            if rule == "files" and layout.instances is None:
                raise ValueError(
                    f"instances.rule is 'files' but layout {layout.name!r} "
                    "has no `instances` pattern"
                )

    def pairs(self) -> list[tuple[str, str]]:
        """Patterns of images and their masks, a pair for each layout that has both."""
        return [(one.image, one.mask) for one in self.layouts if one.mask is not None]

    def described(self) -> list[str]:
        """Lines for people: the layouts, or the list."""
        if self.datalist is not None:
            return [f"Files that a list below --raw names: {self.datalist}"]
        lines = [f"  {one.name}: {one.image}  with  {one.masks}" for one in self.layouts]
        return ["Files below --raw (the first layout that is found):", *lines]


class DicomMasks(DicomReader):
    """One DICOM CT series a case, in any folders, and a mask volume of its name."""

    name: Literal["dicom_masks"]
    mask: str
    """Pattern of the mask, with `{case}`, as for `volume_pairs`."""
    segments: Segments = None
    """Regular expression of the names of segments that are lesions, as for `volume_pairs`."""

    def check_rule(self, rule: str) -> None:
        """Refuse what does not go with `segments`."""
        _check_segments(self.segments, rule)


class Readers(Part):
    """Several people who marked the same lesions: whose mark is whose."""

    by: Literal["object", "structure"] = "object"
    """Whether a reader has objects of their own, told by the path of the file below the raw root,
    or structures in a common object, told by their names."""
    names: tuple[Regex, ...] = ()
    """Regular expressions that path or name fit as a whole: the N-th is that of `reader-N`. None at
    all (`by: object`): every object of a series is another reader's, in the order of their paths.
    """
    votes: Literal["scan", "lesion"] = "scan"
    """Who votes on a lesion: all who marked anything of the scan, so that leaving a lesion out is a
    vote against it; or those who marked the lesion, as in LIDC-IDRI. With `lesion` marks belong to
    one lesion if they share voxels, and without names readers are numbered within each lesion."""

    @model_validator(mode="after")
    def _several(self) -> Readers:
        if len(self.names) == 1 or (self.by == "structure" and not self.names):
            raise ValueError("names: say two readers or more, each by its own expression")
        return self


class DicomObjects(DicomReader):
    """DICOM CT series with RTSTRUCT or SEG objects that refer to them, in any folders."""

    name: Literal["dicom_objects"]
    kind: Literal["rtstruct", "seg", "any"]
    """What lesions are drawn in: structure sets, segmentations, or either."""
    objects: Regex = r".*"
    """Regular expression that the SeriesDescription of an object fits as a whole, if it is one of
    the source: results of others, of models too, are often in the same folders. Where the header
    has none, it is an empty text. Descriptions are free text and never reach an output."""
    structures: Regex = r".*"
    """Regular expression that the name of a lesion's ROI, or its segment's label, fits as a whole.
    Names are free text and never reach an output."""
    clicks: Regex | None = None
    """Regular expression that the SeriesDescription of a structure set, or the name of a ROI, fits
    as a whole where the ROI is a POINT that somebody set in a lesion: the first click on the lesion
    that holds it. One that lies in no lesion is a skipped row."""
    name_by: Literal["folder", "series"] = "folder"
    """What a case is called after: the folder that `case` fits, with the series UID behind it where
    several series are in it; or always with both, so that a series keeps its name when others of
    the same patient are downloaded later."""
    several: Literal["all", "latest", "fail"] = "all"
    """What to do with several objects of one series (of one reader, with `readers`), as corrected
    structure sets are: read all, and flag masks that are equal or overlap; read only the one that
    was written last, by its header's date; or fail."""
    readers: Readers | None = None
    """Where several readers marked the same lesions: a voxel is lesion if more than half of those
    who vote (`readers.votes`) marked it, and each reader's mask is a layer. Marks belong to one
    lesion if they share voxels or, with `components`, if their union connects them."""

    @model_validator(mode="after")
    def _clicks(self) -> DicomObjects:
        if self.clicks is not None and self.several != "all":
            raise ValueError("clicks: are in separate objects, so `several` must be all")
        return self

    @property
    def case_id(self) -> str:
        """Regular expression of the ids of cases: names of folders, with a series UID or not."""
        return rf"(?:{self.case})(?:_[0-9.]+)?"

    @property
    def kinds(self) -> tuple[Literal["rtstruct", "seg"], ...]:
        """Kinds of objects that are read."""
        return ("rtstruct", "seg") if self.kind == "any" else (self.kind,)


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
    policy: DicomPolicy = DicomPolicy.model_construct()
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


class DeepLesion(ReaderPart):
    """DeepLesion: 16-bit PNG slices, in folders or in their zip archives, and DL_info.csv."""

    name: Literal["deeplesion"]
    case: CasePattern
    """Regular expression of a key slice's name, `<patient>_<study>_<series>_<slice>`."""
    patient: PatientPattern
    table: str = "DL_info.csv"
    """Name of the table's file, anywhere below the raw root."""
    coordinates: Coordinates


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
    VolumePairs
    | DicomMasks
    | DicomObjects
    | LidcXml
    | Lndb
    | DeepLesion
    | Measurements
    | ArchiveOnly,
    Field(discriminator="name"),
    BeforeValidator(from_ccc18),
]
