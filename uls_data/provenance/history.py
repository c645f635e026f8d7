"""Every change that ever touched a VOI."""

from __future__ import annotations

from dataclasses import dataclass

from uls_data.errata import changes_of
from uls_data.manifest.row import Row
from uls_data.outcome import Status
from uls_data.provenance.lineage import Paths, rows_of


@dataclass(frozen=True)
class Event:
    """One change.

    Attributes
    ----------
    kind : str
        `cut`, `indexed`, `derived`, `left out`, `failed`, or the kind of a correction.
    layer, parent_layer : str or None
    words : str
        The event as a sentence.
    date, author : str or None
        Of a correction; builds have none, so that they can be repeated to the byte.
    label_voxels_sha256 : str or None
        Of the mask after it; the first 16 digits where a correction in a chain made it.
    manifest : str
        File that says so.
    """

    kind: str
    layer: str | None
    parent_layer: str | None
    words: str
    date: str | None
    author: str | None
    label_voxels_sha256: str | None
    manifest: str


def blame(voi_id: str, manifest: Paths = ".") -> list[Event]:
    """Tell the changes of a VOI in order: how each layer came to be, and every correction.

    Parameters
    ----------
    voi_id : str
    manifest : path or sequence of paths
        Of builds, filters, predictions, errata: whatever may tell of it.

    Raises
    ------
    ManifestError
        Not manifests, or none that holds the VOI.
    """
    events = []
    for found in rows_of(voi_id, manifest):
        row, file = found.row, str(found.manifest)
        layers = row["layer"], row["parent_layer"]
        for change in changes_of(row):
            words = f"{change.words()} [evidence: {change.evidence}; overlay {change.overlay}]"
            events.append(
                Event(change.kind, *layers, words, change.date, change.author, change.after, file)
            )
        if not changes_of(row):
            kind, words = _made(row)
            sha256 = row["label_voxels_sha256"]
            events.append(Event(kind, *layers, words, None, None, sha256, file))
    return events


def _made(row: Row) -> tuple[str, str]:
    """How a layer came to be that no overlay made."""
    by = f"uls-data {row['software_version']}" if row["software_version"] else "uls-data"
    if row["model_sha256"] is not None:
        kind, words = "derived", f"predicted by {by} with model {row['model_sha256'][:16]}"
    elif row["parent_layer"] is not None:
        kind, words = "derived", f"made by {by}"
    elif row["profile"] is None:
        kind, words = "indexed", f"found in an archive and measured by {by}"
    else:
        what = row["label_source"] or "the raw data"
        kind = "cut"
        words = (
            f"cut by {by} from {what}, recipe {row['source']} version {row['recipe_version']}, "
            f"profile {row['profile']}, seed {row['seed']}"
        )
    if row["parent_layer"] is not None:
        words += f" from layer {row['parent_layer']}"
    if row["status"] == Status.OK:
        words += f": {row['mask_voxels']} voxels"
    else:
        kind = "left out" if row["status"] == Status.SKIPPED else "failed"
        words += f"; {row['status']}: {row['reason']}: {row['detail']}"
    if row["qc_flags"]:
        words += f"; flags {', '.join(row['qc_flags'])}"
    return kind, words
