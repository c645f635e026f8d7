"""What was measured on the masks of many rows, held by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from uls_data.reporting.figure import Numbers


class Measured(Sequence[Numbers]):
    """Numbers of each row; empty where nothing was measured.

    Parameters
    ----------
    count : int
        Rows.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        # NaN: not measured.
        self._columns: dict[str, NDArray[np.float64]] = {}

    def put(self, at: int, numbers: Numbers) -> None:
        """Keep the numbers of a row."""
        for name, value in numbers.items():
            if name not in self._columns:
                self._columns[name] = np.full(self._count, np.nan)
            self._columns[name][at] = value

    def columns(self) -> Mapping[str, NDArray[np.float64]]:
        """Arrays by name, one value a row; NaN where there is none."""
        return self._columns

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Numbers: ...
    @overload
    def __getitem__(self, at: slice) -> Measured: ...
    def __getitem__(self, at: int | slice) -> Numbers | Measured:
        if isinstance(at, slice):
            part = Measured(len(range(*at.indices(self._count))))
            part._columns = {name: column[at] for name, column in self._columns.items()}
            return part
        if not -self._count <= at < self._count:
            raise IndexError(at)
        found = {name: float(column[at]) for name, column in self._columns.items()}
        return {name: value for name, value in found.items() if value == value}
