"""Overlays: text files of corrections, untrusted until checked."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from uls_data.errors import UlsDataError
from uls_data.io import remove_temporaries_of, write_bytes
from uls_data.io.lock import LOCK, locked
from uls_data.manifest.row import Row
from uls_data.outcome import LesionType, Supervision
from uls_data.yaml_text import YamlError, load_yaml

MAXIMUM_BYTES = 1 << 23
MAXIMUM_CORRECTIONS = 20_000
_SHOWN_PROBLEMS = 10


class ErrataError(UlsDataError):
    """An overlay cannot be read, or what it says does not fit the data."""


class Kind(StrEnum):
    """What a correction does."""

    DROP = "drop"
    RELABEL = "relabel"
    REPLACE = "replace"
    RECLICK = "reclick"
    NOTE = "note"


def _one_line(text: str) -> str:
    # `|` parts the fields of a row's detail.
    if "|" in text or not text.isprintable():
        raise ValueError("one line of printable text without |")
    return text


def _file_name(text: str) -> str:
    if text.startswith(".") or "/" in text or "\\" in text:
        raise ValueError("no file name")
    return _one_line(text)


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
FileName = Annotated[
    str, StringConstraints(min_length=1, max_length=240), AfterValidator(_file_name)
]
# A name or handle; an address is more than a change log needs.
Author = Annotated[str, StringConstraints(pattern=r"^\w[\w .'-]{0,63}$")]
Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000, strip_whitespace=True),
    AfterValidator(_one_line),
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Columns(_Model):
    """Columns of the manifest that a correction may set.

    Attributes
    ----------
    lesion_type, supervision : optional
        Of the closed lists.
    source_lesion_id : str, optional
    """

    lesion_type: LesionType | None = None
    supervision: Supervision | None = None
    source_lesion_id: Line | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.row():
            raise ValueError("names no column")
        return self

    def row(self) -> Row:
        """Those columns that are set."""
        return cast(Row, self.model_dump(mode="json", exclude_none=True))


class Correction(_Model):
    """One correction of one VOI.

    Attributes
    ----------
    kind : Kind
        `drop` the lesion; `relabel`: set `columns`; `replace` the mask by a patch; `reclick`: cut
        the VOI again around another click; `note`: change nothing.
    source, voi_id, layer : str
        Of the row that is corrected; the layer is the one that the mask came from at first, also
        where other corrections go before.
    reason, evidence : str
        What is wrong, and how one can see that; one line each.
    author : str
        A name or handle; no address.
    date : date
    before : str
        `label_voxels_sha256` of the mask that the author saw.
    after : str or None
        Likewise, of the mask that there shall be; as `before` where the mask stays, None where
        there is none.
    patch : str or None
        SHA-256 of a label file, `patches/<patch>.nii.gz` beside the overlay: shape (256, 256, 128),
        values {0, 1}, affine of the VOI.
    columns : Columns or None
    click : tuple of 3 int, or None
        Zero-based index in the VOI as it is, RAS.
    """

    kind: Kind
    source: FileName
    voi_id: FileName
    layer: Name
    reason: Line
    evidence: Line
    author: Author
    date: datetime.date
    before: Sha256
    after: Sha256 | None = None
    patch: Sha256 | None = None
    columns: Columns | None = None
    click: (
        tuple[
            Annotated[int, Field(ge=0, le=255)],
            Annotated[int, Field(ge=0, le=255)],
            Annotated[int, Field(ge=0, le=127)],
        ]
        | None
    ) = None

    @model_validator(mode="after")
    def _fields_of_its_kind(self) -> Self:
        needs: dict[Kind, set[str]] = {
            Kind.DROP: set(),
            Kind.RELABEL: {"columns"},
            Kind.REPLACE: {"patch"},
            Kind.RECLICK: {"click"},
            Kind.NOTE: set(),
        }
        allowed = needs[self.kind] | ({"columns"} if self.kind is Kind.REPLACE else set())
        given = {name for name in ("patch", "columns", "click") if getattr(self, name) is not None}
        if missing := needs[self.kind] - given:
            raise ValueError(f"{self.kind} needs `{missing.pop()}`")
        if extra := given - allowed:
            raise ValueError(f"`{sorted(extra)[0]}` has no meaning for {self.kind}")
        match self.kind:
            case Kind.DROP | Kind.RECLICK if self.after is not None:
                raise ValueError(f"{self.kind} leaves no mask: `after` is null")
            case Kind.RELABEL | Kind.NOTE if self.after != self.before:
                raise ValueError(f"{self.kind} leaves the mask as it is: `after` equals `before`")
            case Kind.REPLACE if self.after in (None, self.before):
                raise ValueError("replace needs `after`, the hash of the new mask's voxels")
        return self


class Overlay(_Model):
    """Corrections in the order in which they apply.

    Attributes
    ----------
    name : str
        Named in the change log.
    title : str
    corrections : tuple of Correction
    """

    overlay_version: Literal[1] = 1
    name: Name
    title: Line
    corrections: Annotated[tuple[Correction, ...], Field(max_length=MAXIMUM_CORRECTIONS)] = ()


def load_overlay(path: str | Path) -> Overlay:
    """Read and check an overlay.

    Raises
    ------
    ErrataError
        Missing, too large, not YAML, or not valid; the message names the wrong fields.
    """
    path = Path(path)
    return _parsed(_read(path), path)


def append(
    path: str | Path,
    correction: Correction | Callable[[Overlay], Correction],
    *,
    title: str = "Verdicts",
) -> Overlay:
    """Add a correction at the end of an overlay, which is made if it is not there.

    The file's text is kept, comments too, where `corrections` come last in it, as a
    list that is not indented; a file in another style is rewritten. A kill at any instant
    leaves the old file or the new one; several writers on one machine wait for each other.

    Parameters
    ----------
    path : path
    correction : Correction or callable
        A callable is told what the file says, while no other writer can change it, and returns
        the correction; what it raises leaves the file as it is.
    title : str
        Of an overlay that is made.

    Returns
    -------
    Overlay
        As the file says it now.

    Raises
    ------
    ErrataError
        The file is not an overlay, is full, or cannot be written.
    """
    path = Path(path)
    try:
        with locked(path.parent / LOCK, str(path), wait=True):
            remove_temporaries_of(path)
            if path.is_file():
                text = _read(path)
                before = _parsed(text, path)
            else:
                text = f"overlay_version: 1\nname: {path.stem}\ntitle: {title}\n"
                before = _checked({"name": path.stem, "title": title}, path)
            made = correction if isinstance(correction, Correction) else correction(before)
            wanted = before.model_copy(update={"corrections": (*before.corrections, made)})
            if len(wanted.corrections) > MAXIMUM_CORRECTIONS:
                raise ErrataError(f"{path} is full: name another overlay")
            text = text.rstrip("\n") + "\n"
            if not before.corrections:
                text = "".join(
                    line
                    for line in text.splitlines(keepends=True)
                    if not line.startswith("corrections:")
                )
                text += "corrections:\n"
            text += _dumped([made.model_dump(mode="json", exclude_none=True)])
            if not _says(text, wanted, path):
                # Written in another style than ours: rewritten, without its comments.
                text = _dumped(wanted.model_dump(mode="json", exclude_none=True))
            write_bytes(path, text.encode())
            return wanted
    except OSError as error:
        raise ErrataError(f"{path}: cannot be written: {error.strerror}") from error


def _says(text: str, wanted: Overlay, path: Path) -> bool:
    try:
        return _parsed(text, path) == wanted
    except ErrataError:
        return False


def wrong_field(error: ValidationError) -> str:
    """Name the first field that is not valid, and say what is wrong with it."""
    return wrong_fields(error)[0]


def wrong_fields(error: ValidationError, whole: str = "") -> list[str]:
    """Name each field that is not valid (`whole`: all together), and say what is wrong with it."""
    found = error.errors(include_url=False, include_input=False)
    places = (".".join(str(part) for part in one["loc"]) or whole for one in found)
    words = (one["msg"].removeprefix("Value error, ") for one in found)
    return [f"{at}: {said}" if at else said for at, said in zip(places, words, strict=True)]


def _dumped(content: Any) -> str:
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text


def _read(path: Path) -> str:
    try:
        if not path.is_file():
            raise ErrataError(f"{path}: no such overlay")
        if path.stat().st_size > MAXIMUM_BYTES:
            raise ErrataError(f"{path}: larger than an overlay can be ({MAXIMUM_BYTES >> 20} MiB)")
        return path.read_bytes()[: MAXIMUM_BYTES + 1].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ErrataError(f"{path}: cannot be read: {error}") from error


def _parsed(text: str, path: Path) -> Overlay:
    try:
        content = load_yaml(text, str(path), MAXIMUM_BYTES)
    except YamlError as error:
        raise ErrataError(str(error)) from error
    if not isinstance(content, dict):
        raise ErrataError(f"{path}: expected `name`, `title` and `corrections`")
    return _checked(content, path)


def _checked(content: dict[Any, Any], path: Path) -> Overlay:
    try:
        return Overlay.model_validate(content)
    except ValidationError as error:
        problems = wrong_fields(error, "overlay")
        lines = problems[:_SHOWN_PROBLEMS]
        if len(problems) > _SHOWN_PROBLEMS:
            lines.append(f"... and {len(problems) - _SHOWN_PROBLEMS} more")
        raise ErrataError("\n  ".join([f"{path}:", *lines])) from error
