"""When a DICOM object was written: to choose among several, never for output."""

from __future__ import annotations

from pathlib import Path

from uls_data.dicom.header import read_header

# Date and time by what says it best: of the structure set, the content, the instance, the series.
_TAGS = (
    (0x30060008, 0x30060009),
    (0x00080023, 0x00080033),
    (0x00080012, 0x00080013),
    (0x00080021, 0x00080031),
)


def written_at(path: Path, name: str) -> str | None:
    """Date and time of an object as digits that sort; None where its header gives no date.

    Raises
    ------
    CaseError, OSError
        The header cannot be read.
    """
    wanted = frozenset(tag for pair in _TAGS for tag in pair)
    header, _ = read_header(path, name, wanted)
    for day, time in _TAGS:
        date = header.text(day).replace(".", "")
        if len(date) == 8 and date.isdecimal():
            clock = header.text(time).replace(":", "")
            whole, _, fraction = clock.partition(".")
            digits = whole + fraction
            return date + (whole.ljust(6, "0") + fraction if digits.isdecimal() else "000000")
    return None
