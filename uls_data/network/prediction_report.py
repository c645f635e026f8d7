"""What a prediction did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from uls_data.manifest.row import Row


@dataclass
class PredictReport:
    """What a prediction did.

    Attributes
    ----------
    manifest : Path
        Of the new layer.
    rows : list of dict
        One a VOI: ok, skipped (`empty_prediction`) or failed (unreadable). Of a dry run: those
        that are done.
    vois : int
    device, precision : str
    in_flight : int
        VOIs on the device at once, at the end.
    resumed : int
        VOIs that an earlier run of the same prediction had done.
    notes : tuple of str
        What a user should know of the model.
    """

    manifest: Path
    rows: list[Row]
    vois: int
    device: str
    precision: str
    in_flight: int
    resumed: int
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[str]:
        """Rows by status."""
        return Counter(row["status"] for row in self.rows)
