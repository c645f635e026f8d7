"""Display windows of slices, by their headers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uls_data.dicom.elements import Header, Tag
from uls_data.dicom.header import read_header
from uls_data.errors import CaseError
from uls_data.ids import readable
from uls_data.volumes.header_text import number

_WINDOW_CENTRE, _WINDOW_WIDTH = 0x00281050, 0x00281051
_WANTED = frozenset((int(Tag.SOP_INSTANCE_UID), _WINDOW_CENTRE, _WINDOW_WIDTH))
_FARTHEST_HU = 1e5


def windows_of(files: Sequence[Path], root: Path) -> dict[str, tuple[float, float] | None]:
    """Display windows of slices by SOPInstanceUID: low and high HU.

    Parameters
    ----------
    files : sequence of Path
        Relative to the root, and known to lie inside it. What cannot be read is left out.
    """
    windows = {}
    for file in files:
        try:
            header, _ = read_header(root / file, readable(file.as_posix()), _WANTED)
        except (CaseError, OSError):
            continue
        texts = _first(header, _WINDOW_CENTRE), _first(header, _WINDOW_WIDTH)
        windows[header.uid(Tag.SOP_INSTANCE_UID)] = window_hu(*texts)
    return windows


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
