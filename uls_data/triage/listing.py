"""A list of the VOIs to look at, in its own order: outliers of a report, rows of a query."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from uls_data.errors import CaseError, ManifestError
from uls_data.manifest.choice import layer_of
from uls_data.manifest.row import Row as ManifestRow
from uls_data.outcome import Reason
from uls_data.tables import Row, read_rows

_MAXIMUM_BYTES = 64 << 20
# Columns that say why a VOI is on the list, as `outliers.csv` of a report has them.
_WHY = ("rule", "words")


@dataclass
class Entry:
    """A VOI of a list.

    Attributes
    ----------
    voi_id : str
    source, layer : str
        Empty: any.
    why : list of str
        What the list says about it, one text for each time that it is there.
    """

    voi_id: str
    source: str
    layer: str
    why: list[str]

    def is_of(self, row: ManifestRow) -> bool:
        """Whether a mask of that name is meant: by `source`, `layer` and `parent_layer`."""
        layers = ("", row["layer"], layer_of(row))
        return self.source in ("", row["source"]) and self.layer in layers


def read_list(path: Path) -> list[Entry]:
    """VOIs of a CSV table with a column `voi_id`, each where it stands first.

    Columns `source` and `layer`, where there are such, tell the mask that is meant; of `rule`
    and `words` the page shows what they hold.

    Raises
    ------
    ManifestError
        No such table, or no VOI in it.
    """
    entries: dict[tuple[str, str, str], Entry] = {}
    try:
        for row in read_rows(
            path,
            path.parent,
            ["voi_id"],
            Reason.ANNOTATION_UNREADABLE,
            maximum_bytes=_MAXIMUM_BYTES,
        ):
            voi_id, source, layer = (_cell(row, name) for name in ("voi_id", "source", "layer"))
            if not voi_id:
                # A row of a case without VOIs, as `query` prints them.
                continue
            entry = entries.setdefault((source, voi_id, layer), Entry(voi_id, source, layer, []))
            why = ": ".join(text for name in _WHY if (text := _cell(row, name)))
            if why:
                entry.why.append(why)
    except CaseError as error:
        raise ManifestError(f"{path}: no list of VOIs: {error.detail}") from error
    if not entries:
        raise ManifestError(f"{path}: no VOI is listed there")
    return list(entries.values())


def by_name(entries: Iterable[Entry]) -> dict[str, list[tuple[int, Entry]]]:
    """Entries with their places on the list, by the name of their VOI."""
    found: dict[str, list[tuple[int, Entry]]] = {}
    for place, entry in enumerate(entries):
        found.setdefault(entry.voi_id, []).append((place, entry))
    return found


def _cell(row: Row, name: str) -> str:
    return row.cells.get(name, "").strip()
