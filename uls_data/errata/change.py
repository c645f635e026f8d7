"""What corrections did, as the `detail` of a row says it and as a change log tells it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from uls_data.errata.overlay import Correction, Kind
from uls_data.manifest.choice import CORRECTED
from uls_data.manifest.parquet import row_key
from uls_data.manifest.row import Row

LAYER = CORRECTED
_SHORT = 16
_WORDS = {
    "drop": "left out",
    "relabel": "relabelled",
    "replace": "mask replaced",
    "reclick": "withdrawn, to be cut again around another click",
    "note": "noted, nothing changed",
}


@dataclass(frozen=True)
class Change:
    """One correction that was applied to a VOI.

    Attributes
    ----------
    kind, date, author, reason, evidence, overlay : str
        Of the correction; the date as YYYY-MM-DD.
    before, after : str
        First 16 digits of the hashes of the mask's voxels; `none` where there is no mask.
    what : str
        What a relabelling set, or where the new click is; empty for the others.
    """

    kind: str
    date: str
    author: str
    what: str
    reason: str
    evidence: str
    overlay: str
    before: str
    after: str

    @classmethod
    def of(cls, correction: Correction, overlay: str) -> Change:
        """Return the change that a correction of an overlay makes."""
        what = ""
        if correction.columns is not None:
            what = ", ".join(f"{name}: {value}" for name, value in correction.columns.row().items())
        if correction.click is not None:
            what = "click " + " ".join(map(str, correction.click))
        return cls(
            kind=correction.kind.value,
            date=correction.date.isoformat(),
            author=correction.author,
            what=what,
            reason=correction.reason,
            evidence=correction.evidence,
            overlay=overlay,
            before=correction.before[:_SHORT],
            after=(correction.after or "none")[:_SHORT],
        )

    def line(self) -> str:
        """Return the change as one line of a row's `detail`."""
        fields = [self.kind, self.date, f"by {self.author}", self.what or "-", self.reason]
        fields += [f"evidence: {self.evidence}", f"overlay {self.overlay}"]
        fields += [f"{self.before} -> {self.after}"]
        return " | ".join(fields)

    @classmethod
    def parsed(cls, line: str) -> Change:
        """Read what `line` wrote.

        Raises
        ------
        ValueError
            It did not.
        """
        kind, date, author, what, reason, evidence, overlay, hashes = line.split(" | ")
        before, after = hashes.split(" -> ")
        return cls(
            kind=Kind(kind).value,
            date=date,
            author=author.removeprefix("by "),
            what="" if what == "-" else what,
            reason=reason,
            evidence=evidence.removeprefix("evidence: "),
            overlay=overlay.removeprefix("overlay "),
            before=before,
            after=after,
        )

    def words(self) -> str:
        """Return the change as a sentence without its VOI."""
        what = f" ({self.what})" if self.what else ""
        return f"{_WORDS[self.kind]}{what}: {self.reason} ({self.author}, {self.date})"


def changes_of(row: Row) -> list[Change]:
    """Return the changes behind a row of layer `corrected`, in their order; none for other rows."""
    if row["layer"] != LAYER or not row["detail"]:
        return []
    try:
        return [Change.parsed(line) for line in row["detail"].splitlines()]
    except ValueError:
        return []


def change_log(rows: Iterable[Row], *, notes: bool = False) -> list[str]:
    """Lines for the change log of the data, one a correction, in the order of the rows' keys.

    Parameters
    ----------
    rows : iterable of dict
        Of any layers; those of layer `corrected` are told.
    notes : bool
        Whether notes, which change nothing, are told too.
    """
    return [
        f"{row['source']} {row['voi_id']}: {change.words()}"
        for row in sorted(rows, key=row_key)
        for change in changes_of(row)
        if notes or change.kind != Kind.NOTE
    ]
