"""What a training did, as CSV files and, where it is installed, for TensorBoard."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from uls_data.io import write_bytes
from uls_data.tables import Record

_EPOCH = ("epoch", "step", "learning_rate", "loss", "seconds")
_VALIDATION = ("epoch", "step", "lesion_type", "lesions", "dice", "std")


def write_curves(folder: Path, epochs: Sequence[Record], validations: Sequence[Record]) -> None:
    """Write `curves.csv` (one row an epoch) and `validation.csv` (one a lesion type)."""
    write_bytes(folder / "curves.csv", _csv(_EPOCH, epochs))
    write_bytes(folder / "validation.csv", _csv(_VALIDATION, validations))


def _csv(names: Sequence[str], rows: Sequence[Record]) -> bytes:
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    for row in rows:
        table.writerow({name: _cell(row.get(name)) for name in names})
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


class Board:
    """TensorBoard's events, or nothing where it is not installed."""

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self._writer = None
        else:
            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step)

    def add(self, name: str, value: float | None, step: int) -> None:
        """Add one point of a curve."""
        if self._writer is not None and value is not None:
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what waits."""
        if self._writer is not None:
            self._writer.close()
