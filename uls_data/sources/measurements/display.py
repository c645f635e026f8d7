"""Display windows of slices, by their headers."""

from __future__ import annotations

from collections.abc import Iterable

from uls_data.dicom.elements import Header, Tag
from uls_data.volumes.header_text import number

_FARTHEST_HU = 1e5


def windows_of(headers: Iterable[Header]) -> dict[str, tuple[float, float] | None]:
    """Display windows of slices by SOPInstanceUID: low and high HU."""
    return {
        header.uid(Tag.SOP_INSTANCE_UID): window_hu(
            _first(header, Tag.WINDOW_CENTER), _first(header, Tag.WINDOW_WIDTH)
        )
        for header in headers
    }


def window_hu(centre: str, width: str) -> tuple[float, float] | None:
    """Low and high HU of a window by its centre and width; None where they are none.

    Low is centre - width / 2 and high is centre + width / 2 (PS3.3 C.11.2.1.3.2). The linear
    function of C.11.2.1.2.1 ends half and one and a half HU lower, which no mask can tell.
    """
    middle, whole = number(centre), number(width)
    # The standard wants a width of at least 1.
    if (
        middle is None
        or whole is None
        or abs(middle) > _FARTHEST_HU
        or not 1 <= whole <= _FARTHEST_HU
    ):
        return None
    return middle - whole / 2, middle + whole / 2


def _first(header: Header, tag: int) -> str:
    """First value of an element that may have several, a window each."""
    return header.text(tag).split("\\")[0].strip(" \0")
