"""A measurement of a lesion, as a source's table states it."""

from __future__ import annotations

from dataclasses import dataclass, field

from uls_data.measure.lines import Lines
from uls_data.outcome import LesionType, Reason


@dataclass(frozen=True)
class StackSpec:
    """A run of numbered slices around a key slice, and what a table says about its grid.

    Attributes
    ----------
    shape : tuple of 3 int
        Columns, rows and slices.
    spacing_mm : tuple of 3 float, or None
        Along columns, rows and slices; None where the table's cannot be a scan's.
    first_slice, key_slice : int
        Numbers, as in the slices' names.
    digits : int
        Fewest digits of those names; smaller numbers have zeros in front.
    folder : str
        Folder of the slices inside `CaseFiles.image`, where that is an archive.
    prefix : str
        What stands before the number in those names.
    run : (int, int) or None
        Numbers of the first and last slice of the volume that `CaseFiles.image` is; None where
        the slices are files of their own.
    neighbours : bool
        Whether the series has further slices beyond a hole.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None
    first_slice: int
    key_slice: int
    digits: int = 3
    folder: str = ""
    prefix: str = ""
    run: tuple[int, int] | None = None
    neighbours: bool = False

    @property
    def names(self) -> list[str]:
        """File names of the slices, below `CaseFiles.image`, by number."""
        above = f"{self.folder}/" if self.folder else ""
        numbers = range(self.first_slice, self.first_slice + self.shape[2])
        return [f"{above}{self.prefix}{number:0{self.digits}d}.png" for number in numbers]


@dataclass(frozen=True)
class Measurement:
    """Two lines that one reader drew on one slice.

    Attributes
    ----------
    number : int
        Number of the lesion in its case, 1-based; readers of one lesion share it.
    source_lesion_id : str
        What the table calls it, such as the number of its row.
    slice_name : str
        The measured slice: name of its file or its SOPInstanceUID.
    lines : Lines
        In the slice as its file stores it: column, row, zero-based, pixel centres at whole
        numbers, after the recipe's `coordinates` were applied.
    reader : int
        Number of the reader among those of this lesion, 1-based.
    window_hu : tuple of 2 float, or None
        Low and high HU of the display window.
    lesion_type : LesionType or None
        Where the table tells it.
    columns : tuple of (column, value)
        Further manifest columns that the table tells, such as `source_split`.
    stated_mm : tuple of 2 float or None
        Lengths of the long and the short axis as the table states them.
    noisy : bool
        The source itself doubts it.
    skipped : (Reason, str) or None
        Why no lesion is made of it.
    day : int or None
        When it was measured by the table, in days since anything.
    """

    number: int
    source_lesion_id: str
    slice_name: str
    lines: Lines
    reader: int = 1
    window_hu: tuple[float, float] | None = None
    lesion_type: LesionType | None = None
    columns: tuple[tuple[str, str | float | None], ...] = ()
    stated_mm: tuple[float | None, float | None] = (None, None)
    noisy: bool = False
    skipped: tuple[Reason, str] | None = None
    day: int | None = field(default=None, repr=False)
