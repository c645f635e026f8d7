"""What a build did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from uls_data.manifest.flags import count_flags
from uls_data.manifest.parquet import iterate_rows, read_table
from uls_data.manifest.row import Row
from uls_data.outcome import Status


@dataclass
class BuildReport:
    """What a build did.

    Attributes
    ----------
    source : str
    manifest : Path
        Not written by a dry run.
    cases, done_before : int
        Cases of this call, and how many of them were finished already.
    complete : bool
        Whether the call covered every case of the raw root.
    notes : list of str
        Lines for the user.
    planned : list of dict
        What a dry run would read; otherwise empty.
    """

    source: str
    manifest: Path
    cases: int = 0
    done_before: int = 0
    complete: bool = True
    notes: list[str] = field(default_factory=list)
    planned: list[Row] = field(default_factory=list)

    @cached_property
    def outcomes(self) -> Counter[tuple[str, str | None]]:
        """How many rows of the manifest ended with each (status, reason)."""
        if not self.manifest.is_file() or self.planned:
            return Counter()
        table = read_table(self.manifest, ["status", "reason"])
        groups = table.group_by(["status", "reason"]).aggregate([([], "count_all")])
        return Counter(
            {(row["status"], row["reason"]): row["count_all"] for row in groups.to_pylist()}
        )

    @cached_property
    def flags(self) -> dict[str, int]:
        """How many rows of the manifest have each flag, most first."""
        if not self.manifest.is_file() or self.planned:
            return {}
        return count_flags(self.manifest)

    @cached_property
    def rows(self) -> list[Row]:
        """All rows of the manifest, by key; a dry run's plan."""
        return self.planned or list(iterate_rows(self.manifest))

    def failures(self, limit: int) -> list[Row]:
        """First failed rows of the manifest: case_id, reason and detail."""
        columns = ["case_id", "reason", "detail"]
        table = read_table(self.manifest, columns, [("status", "=", Status.FAILED.value)])
        rows: list[Row] = table.slice(0, limit).to_pylist()
        return rows

    def lesions(self) -> tuple[int, int]:
        """Lesions that became VOIs, and the scans they lie in."""
        columns = ["case_id", "lesion_index"]
        table = read_table(self.manifest, columns, [("status", "=", Status.OK.value)])
        scans = len(table.column("case_id").unique())
        return table.group_by(columns).aggregate([]).num_rows, scans

    def count(self, status: str) -> int:
        """Rows with a status."""
        return sum(count for (one, _), count in self.outcomes.items() if one == status)

    @property
    def ok(self) -> int:
        """VOIs of this manifest; one with masks of several layers counts once."""
        if not self.count(Status.OK):
            return 0
        table = read_table(self.manifest, ["voi_id"], [("status", "=", Status.OK.value)])
        return len(table.column("voi_id").unique())

    @property
    def skipped(self) -> int:
        """Rows that were skipped by a decision."""
        return self.count(Status.SKIPPED)

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return self.count(Status.FAILED)
