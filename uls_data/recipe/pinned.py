"""What `uls-data fetch` may download for a recipe, pinned so that it is the same tomorrow."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from uls_data.recipe.part import Part, Regex

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_PARTS, _LONGEST_NAME = 16, 200


def _url(value: str) -> str:
    """Refuse addresses that are not https; http goes to this machine alone, for tests."""
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError as error:
        raise ValueError(f"not an address: {error}") from error
    if not host or not (parts.scheme == "https" or (parts.scheme, host) in _LOCAL):
        raise ValueError("must begin with https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or a password; what needs one goes into `by_hand`")
    if not value.isascii() or any(c.isspace() or not c.isprintable() for c in value):
        raise ValueError("holds characters that addresses write as %XX")
    return value


_LOCAL = [("http", host) for host in LOOPBACK]


def _below(value: str) -> str:
    """Refuse paths that are not plainly below the raw root."""
    parts = value.split("/")
    if (
        len(parts) > _MOST_PARTS
        or any(part.startswith(".") or not part.strip() for part in parts)
        or any(len(part) > _LONGEST_NAME for part in parts)
        or "\\" in value
        or not value.isprintable()
    ):
        raise ValueError("must be a path below the raw root, with / and no part that begins with .")
    return value


Url = Annotated[str, AfterValidator(_url)]
Below = Annotated[str, AfterValidator(_below)]
Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$")]
Modality = Annotated[str, Field(pattern=r"^[A-Z]{2,16}$")]


class PinnedSeries(Part):
    """DICOM series of the NCI Imaging Data Commons (IDC), each by the uuid of its version.

    All fields but `series` say how the list was chosen; `python -m tools.pins` writes it.
    """

    series: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,99}\.parquet$")
    """Name of the list beside the recipe, a row a series."""
    index: str = Field(pattern=r"^\d{1,4}\.\d{1,4}\.\d{1,4}$")
    """Version of the package `idc-index-data` that the list was made from; its first number is the
    release of the IDC."""
    collections: tuple[Id, ...] = Field(min_length=1)
    """Collections whose patients count, as the index names them."""
    annotations_of: tuple[Id, ...] = Field(min_length=1)
    """Whose annotations count: analysis results of the index, or a collection's own by its name."""
    annotations: tuple[Modality, ...] = Field(min_length=1)
    """Modalities of the annotations, such as RTSTRUCT and SEG."""
    described: Regex = r".*"
    """Regular expression that the annotations' SeriesDescription fits as a whole."""
    images: tuple[Modality, ...] = ("CT",)
    """Modalities of the images: all series of these in the studies of the annotations."""


class PinnedFile(Part):
    """One file by its address, size and hash."""

    url: Url
    path: Below
    """Where it comes to lie below the raw root."""
    size_bytes: int = Field(ge=1, le=1 << 42)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    case: str | None = Field(default=None, min_length=1)
    """The case that it belongs to, for `--only` and `--limit`; null where all cases need it."""
    licence: str | None = Field(default=None, min_length=2)
    """Its licence where that is not the recipe's."""


class ByHand(Part):
    """What a person has to get: terms that ask for a click, an account, a request."""

    what: str = Field(min_length=3)
    """The files, in words."""
    url: Url
    """Where to go."""
    why: str = Field(min_length=5)
    """What is asked for there."""
    path: Below | None = None
    """Below the raw root, where it lies once somebody got it; null where that may be anywhere."""


class Fetch(Part):
    """What `uls-data fetch` downloads below the raw root."""

    idc: PinnedSeries | None = None
    files: tuple[PinnedFile, ...] = ()
    by_hand: tuple[ByHand, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> Fetch:
        if self.idc is None and not self.files and not self.by_hand:
            raise ValueError("names nothing: give idc, files or by_hand, or leave `fetch` out")
        taken: set[str] = set()
        for path in (file.path for file in self.files):
            # Disks that fold case would give both one name.
            folded = path.casefold()
            if folded in taken:
                raise ValueError(f"files: two have the path {path!r}")
            taken.add(folded)
        for file in self.files:
            for folder in PurePosixPath(file.path.casefold()).parents:
                if str(folder) in taken:
                    raise ValueError(f"files: {file.path!r} lies in a folder that is a file here")
        return self
