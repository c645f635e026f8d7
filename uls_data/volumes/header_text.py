"""What MetaImage and NRRD have in common: lines, keys, numbers, and what a header says.

A header is read once, here, and nothing else of the program reads it again: what two
readers understand differently can lead one of them to a file that the other never checked.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from uls_data.errors import CaseError
from uls_data.geometry import Affine
from uls_data.outcome import Reason

# Tabs are allowed; CR is looked at where lines end.
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_SHOWN = 60
# What parts words; Python's own idea of white space is wider than that of other readers.
BLANKS = " \t"
_WORD = re.compile(f"[^{BLANKS}]+")


class Encoding(StrEnum):
    """How voxels are written."""

    RAW = "raw"
    GZIP = "gzip"
    ZLIB = "zlib"
    BZIP2 = "bzip2"
    TEXT = "text"
    HEX = "hex"

    @property
    def packed(self) -> bool:
        """Whether voxels are compressed."""
        return self in (Encoding.GZIP, Encoding.ZLIB, Encoding.BZIP2)


@dataclass(frozen=True)
class Place:
    """Where voxels are; nothing here has been opened or checked.

    Attributes
    ----------
    file : str or None
        As the header names it, beside the header's file; None for that file itself.
    start : int
        Byte at which to begin.
    skip_lines, skip_bytes : int
        What else stands before the voxels: lines first, then bytes.
    behind : int or None
        Bytes behind the voxels, where their place is counted from the end of the file.
    packed_bytes : int or None
        Length of the compressed voxels, where the header tells.
    """

    file: str | None
    start: int
    skip_lines: int = 0
    skip_bytes: int = 0
    behind: int | None = None
    packed_bytes: int | None = None


@dataclass(frozen=True)
class Header:
    """What a header says.

    Attributes
    ----------
    shape : tuple of 3 int
    dropped : bool
        Whether it names further axes, of one voxel each.
    dtype : dtype
        As stored, byte order included.
    affine_lps : ndarray, 4x4 float64
        From stored indices to LPS mm; not checked.
    oriented : bool
        Whether it says how the axes lie in the patient.
    encoding : Encoding
    place : Place
    values : int
        How many a voxel has: layers of a segmentation.
    notes : dict of str to str
        What a viewer notes about its segments, verbatim.
    """

    shape: tuple[int, ...]
    dropped: bool
    dtype: np.dtype[Any]
    affine_lps: Affine
    oriented: bool
    encoding: Encoding
    place: Place
    values: int = 1
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """Shape as stored: where a voxel has several values, they come first."""
        return self.shape if self.values == 1 else (self.values, *self.shape)

    @property
    def voxels(self) -> int:
        """Number of values that are stored."""
        return math.prod(self.stored_shape)

    @property
    def voxel_bytes(self) -> int:
        """Bytes of the voxels once decoded."""
        return self.voxels * self.dtype.itemsize


def unreadable(name: str, what: str) -> CaseError:
    """Error of a header that says nothing certain."""
    return CaseError(Reason.UNREADABLE, f"{name}: {what}")


def unsupported(name: str, what: str) -> CaseError:
    """Error of a header that says what is not read."""
    return CaseError(Reason.UNSUPPORTED_FORMAT, f"{name}: {what}")


def shown(text: str) -> str:
    """Text of a header for a message: quoted, and short."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def lines_of(data: bytes, name: str, *, whole: bool) -> Iterator[tuple[str, int, bool]]:
    """Lines of a header, the offset behind each, and whether a line end closes it.

    Parameters
    ----------
    whole : bool
        Whether these bytes are the whole file: only its last line may lack an end.

    Raises
    ------
    CaseError
        `unreadable`: a control character, which some readers take for the end of a line and
        others do not, or two kinds of line ends.
    """
    at, ending = 0, None
    while at < len(data):
        stop = data.find(b"\n", at)
        closed = stop >= 0
        if not closed and not whole:
            return
        line = data[at:stop] if closed else data[at:]
        at = stop + 1 if closed else len(data)
        if closed:
            if ending is not None and line.endswith(b"\r") != ending:
                raise unreadable(name, "some lines of the header end in CR LF, others in LF")
            ending = line.endswith(b"\r")
            line = line.removesuffix(b"\r")
        if found := _CONTROL.search(line):
            raise unreadable(
                name, f"a control character (0x{found[0][0]:02x}) in the header; write it again"
            )
        # File names are bytes; these come back as they were when one is opened.
        yield os.fsdecode(line), at, closed


@dataclass
class Fields:
    """Values of the known keys of one header, each said once.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    notes : dict of str to str
        What a viewer notes of its segments.
    """

    name: str
    notes: dict[str, str] = field(default_factory=dict)
    _values: dict[str, str] = field(default_factory=dict)

    def put(self, key: str, value: str) -> None:
        """Add a value.

        Raises
        ------
        CaseError
            `unreadable`: the key has one.
        """
        if key in self._values:
            raise self.twice(key)
        self._values[key] = value

    def note(self, key: str, value: str) -> None:
        """Keep a note on a segment, and no other.

        Raises
        ------
        CaseError
            `unreadable`: there is one.
        """
        if key.startswith("Segment"):
            if key in self.notes:
                raise self.twice(key)
            self.notes[key] = value

    def twice(self, key: str) -> CaseError:
        """Error of a key that the header has already."""
        return unreadable(self.name, f"key {key!r} appears twice in the header")

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def text(self, key: str, default: str | None = None) -> str:
        """Value of a key; without a default the header must hold it."""
        value = self._values.get(key, default)
        if value is None:
            raise unreadable(self.name, f"its header has no {key!r}")
        return value

    def words(self, key: str) -> list[str]:
        """Words of a value, which blanks part."""
        return _WORD.findall(self.text(key))

    def integer(self, key: str, default: int | None = None) -> int:
        """Value that is one whole number."""
        text = self.text(key, None if default is None else str(default))
        if not _INTEGER.fullmatch(text):
            raise self.wrong(key, "a whole number")
        return int(text)

    def sizes(self, key: str, count: int) -> tuple[int, ...]:
        """Value that is a number of voxels for each of `count` axes."""
        found = self.words(key)
        if not found or not all(_INTEGER.fullmatch(n) and n.isdigit() for n in found):
            raise unreadable(self.name, f"its header declares no size ({key!r})")
        if len(found) != count:
            raise self.wrong(key, f"the sizes of {count} axes")
        return tuple(map(int, found))

    def numbers(self, key: str, count: int, *, nan: bool = False) -> list[float]:
        """Value that is `count` numbers; `nan` allows those that say nothing."""
        found = [number(word, nan=nan) for word in self.words(key)]
        values = [value for value in found if value is not None]
        if len(found) != count or len(values) != count:
            raise self.wrong(key, f"{count} number{'s' if count > 1 else ''}")
        return values

    def wrong(self, key: str, expected: str) -> CaseError:
        """Error of a value that cannot be what its key says."""
        return unreadable(
            self.name, f"key {key!r} holds {shown(self.text(key))}, expected {expected}"
        )


def number(text: str, *, nan: bool = False) -> float | None:
    """Finite number that a word is, or nan where that is allowed; None for other words."""
    if nan and text.lower() == "nan":
        return math.nan
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def only_one_file(file: str, name: str) -> str:
    """Name of the one voxel file; lists and numbered files are refused."""
    if file.startswith("LIST") or re.fullmatch(r"(?i)(skip)?list(\s.*)?", file) or "%" in file:
        raise unsupported(name, f"expected one voxel file, found {shown(file)}; join them into one")
    return file
