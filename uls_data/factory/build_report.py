"""What a build did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path

from uls_data.manifest.parquet import iterate_rows
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
    def _counted(self) -> tuple[Counter[tuple[str, str | None]], Counter[str], int]:
        """Outcomes, flags, and VOIs of the manifest, in one pass.

        Without Arrow's groups and filters: pandas comes with them, and a build that has nothing
        to do would take half as long again.
        """
        outcomes: Counter[tuple[str, str | None]] = Counter()
        flags: Counter[str] = Counter()
        vois: set[str | None] = set()
        if self.manifest.is_file() and not self.planned:
            for row in iterate_rows(self.manifest, ["status", "reason", "qc_flags", "voi_id"]):
                outcomes[row["status"], row["reason"]] += 1
                flags.update(row["qc_flags"] or ())
                if row["status"] == Status.OK:
                    vois.add(row["voi_id"])
        return outcomes, flags, len(vois)

    @property
    def outcomes(self) -> Counter[tuple[str, str | None]]:
        """How many rows of the manifest ended with each (status, reason)."""
        return self._counted[0]

    @property
    def flags(self) -> dict[str, int]:
        """How many rows of the manifest have each flag, most first."""
        return dict(sorted(self._counted[1].items(), key=lambda item: (-item[1], item[0])))

    @cached_property
    def rows(self) -> list[Row]:
        """All rows of the manifest, by key; a dry run's plan."""
        return self.planned or list(iterate_rows(self.manifest))

    def failures(self, limit: int) -> list[Row]:
        """First failed rows of the manifest: case_id, reason and detail."""
        if not self.failed:
            return []
        rows = iterate_rows(self.manifest, ["case_id", "reason", "detail", "status"])
        return list(islice((row for row in rows if row["status"] == Status.FAILED), limit))

    def lesions(self) -> tuple[int, int]:
        """Lesions that became VOIs, and the scans they lie in."""
        rows = iterate_rows(self.manifest, ["case_id", "lesion_index", "status"])
        lesions = {
            (row["case_id"], row["lesion_index"]) for row in rows if row["status"] == Status.OK
        }
        return len(lesions), len({case for case, _ in lesions})

    def count(self, status: str) -> int:
        """Rows with a status."""
        return sum(count for (one, _), count in self.outcomes.items() if one == status)

    @property
    def ok(self) -> int:
        """VOIs of this manifest; one with masks of several layers counts once."""
        return self._counted[2]

    @property
    def skipped(self) -> int:
        """Rows that were skipped by a decision."""
        return self.count(Status.SKIPPED)

    @property
    def failed(self) -> int:
        """Rows that failed."""
        return self.count(Status.FAILED)
