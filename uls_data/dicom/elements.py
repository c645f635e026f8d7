"""Elements of a DICOM header: which ones this package reads, and what their values are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from uls_data.errors import CaseError
from uls_data.outcome import Reason

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


class Tag(IntEnum):
    """Elements that this package reads, as group << 16 | element (PS3.6)."""

    TRANSFER_SYNTAX_UID = 0x00020010
    IMAGE_TYPE = 0x00080008
    SOP_CLASS_UID = 0x00080016
    SOP_INSTANCE_UID = 0x00080018
    STUDY_DATE = 0x00080020
    ACQUISITION_TIME = 0x00080032
    CONTENT_TIME = 0x00080033
    MODALITY = 0x00080060
    PATIENT_ID = 0x00100020
    SLICE_THICKNESS = 0x00180050
    STUDY_INSTANCE_UID = 0x0020000D
    SERIES_INSTANCE_UID = 0x0020000E
    ACQUISITION_NUMBER = 0x00200012
    INSTANCE_NUMBER = 0x00200013
    IMAGE_POSITION_PATIENT = 0x00200032
    IMAGE_ORIENTATION_PATIENT = 0x00200037
    FRAME_OF_REFERENCE_UID = 0x00200052
    SAMPLES_PER_PIXEL = 0x00280002
    PHOTOMETRIC_INTERPRETATION = 0x00280004
    NUMBER_OF_FRAMES = 0x00280008
    ROWS = 0x00280010
    COLUMNS = 0x00280011
    PIXEL_SPACING = 0x00280030
    BITS_ALLOCATED = 0x00280100
    BITS_STORED = 0x00280101
    HIGH_BIT = 0x00280102
    PIXEL_REPRESENTATION = 0x00280103
    PIXEL_PADDING_VALUE = 0x00280120
    PIXEL_PADDING_RANGE_LIMIT = 0x00280121
    BURNED_IN_ANNOTATION = 0x00280301
    WINDOW_CENTER = 0x00281050
    WINDOW_WIDTH = 0x00281051
    RESCALE_INTERCEPT = 0x00281052
    RESCALE_SLOPE = 0x00281053
    FLOAT_PIXEL_DATA = 0x7FE00008
    DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00009
    PIXEL_DATA = 0x7FE00010

    @property
    def label(self) -> str:
        """Name and number, as in `Pixel Spacing (0028,0030)`."""
        name = self.name.replace("_", " ").title().replace("Uid", "UID").replace("Sop", "SOP")
        return f"{name} ({self >> 16:04X},{self & 0xFFFF:04X})"


@dataclass(frozen=True, slots=True)
class Header:
    """Wanted elements of one file.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    values : dict of int to bytes
        Raw values by tag; absent elements are absent.
    transfer_syntax : str
        UID; the one that the bytes show where the file names none.
    little_endian : bool
    pixels_start : int or None
        Offset in the file of the value of the pixel data; None where the walk met none.
    pixels_bytes : int or None
        Length of that value as the file says; None where undefined (encapsulated).
    pixels_tag : int
        Which of the three pixel data elements it is; 0 for none.
    """

    name: str
    values: dict[int, bytes]
    transfer_syntax: str
    little_endian: bool
    pixels_start: int | None = None
    pixels_bytes: int | None = None
    pixels_tag: int = 0

    def text(self, tag: int) -> str:
        """Text without its padding; empty where absent. Never for output: it may be anything."""
        return self.values.get(tag, b"").decode("latin-1").strip(" \0")

    def uid(self, tag: Tag) -> str:
        """UID, or the empty string where absent or where it is not a UID but free text."""
        text = self.text(tag)
        return text if is_uid(text) else ""

    def numbers(self, tag: Tag, count: int) -> tuple[float, ...] | None:
        """Values of a decimal or integer string; None where absent or empty.

        Raises
        ------
        CaseError
            `unreadable`: other than `count` values, or one that is not a number.
        """
        text = self.text(tag)
        if not text:
            return None
        parts = text.split("\\")
        try:
            if len(parts) != count or "_" in text:
                raise ValueError
            return tuple(float(part) for part in parts)
        except ValueError:
            # The text itself may be anybody's name: it is never repeated.
            raise CaseError(
                Reason.UNREADABLE,
                f"{self.name}: {tag.label} must hold {count} number{'s' * (count > 1)}, "
                f"found {len(parts)} value{'s' * (len(parts) > 1)} of text",
            ) from None

    def says_yes(self, tag: Tag) -> bool:
        """Whether the value is YES; no other text is looked at."""
        return self.text(tag).upper() == "YES"

    def integer(self, tag: Tag) -> int | None:
        """Value of a binary integer (VR US); None where absent or empty.

        Raises
        ------
        CaseError
            `unreadable`: the element has not the length of one.
        """
        raw = self.values.get(tag, b"")
        if not raw:
            return None
        if len(raw) not in (2, 4):
            raise CaseError(
                Reason.UNREADABLE,
                f"{self.name}: {tag.label} must hold one integer, found {len(raw)} bytes",
            )
        return int.from_bytes(raw, "little" if self.little_endian else "big")


def is_uid(text: str) -> bool:
    """Whether a text is a UID (PS3.5 section 9.1): digits and dots, which name nobody."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None
