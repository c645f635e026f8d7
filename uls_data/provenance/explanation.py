"""A VOI's chain of hashes in words, with its files looked at, and walked again if asked."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from uls_data.errata import changes_of
from uls_data.errors import ManifestError
from uls_data.io import sha256_file
from uls_data.manifest.paths import voi_file
from uls_data.manifest.row import Row
from uls_data.provenance.lineage import Found, Paths, lineage, rows_of
from uls_data.provenance.link import ABSENT, DIFFERS, SAME, Link, links_of
from uls_data.provenance.walk import walk


@dataclass(frozen=True)
class Explanation:
    """Where a mask comes from.

    Attributes
    ----------
    voi_id, layer : str
    links : list of Link
        From the raw files to the mask.
    verified : bool
        Whether the chain was walked again from the raw data.
    """

    voi_id: str
    layer: str
    links: list[Link]
    verified: bool

    @property
    def broken(self) -> Link | None:
        """The first link at which the chain breaks."""
        return next((link for link in self.links if link.broken), None)


def explain(
    voi_id: str,
    manifest: Paths = ".",
    *,
    layer: str | None = None,
    raw: str | Path | None = None,
    recipe: str | Path | None = None,
    replayed: bool = False,
) -> Explanation:
    """Say where a VOI's mask comes from, link by link, each with its hash.

    Parameters
    ----------
    voi_id : str
    manifest : path or sequence of paths
        Image and label files beside it are compared with their hashes where they are there.
    layer : str, optional
        Of the mask; default: the one that counts and is preferred.
    raw : path, optional
        Folder of the raw data: the case is built again in a temporary folder, and every link
        compared with the manifest.
    recipe : path, optional
        File of the recipe, where it is none that is shipped.
    replayed : bool
        Whether the build took its positions from a manifest, so that no click was drawn.

    Raises
    ------
    ManifestError, RecipeError, SourceError
        No such VOI or layer, no such recipe, or the raw root cannot be read.
    """
    line = lineage(rows_of(voi_id, manifest), layer)
    rows = [found.row for found in line]
    links = links_of(rows)
    by_name: dict[str, Link] = {}
    for link in links:
        by_name.setdefault(link.name, link)
    by_name["VOI"].file = _compared(line, "image", by_name["VOI"])
    masks = [link for link in links if link.name == "mask"]
    for found, link in zip(line, masks, strict=True):
        link.file = _compared([found], "label", link)
    if raw is not None:
        if rows[0]["case_id"] is None or rows[0]["lesion_index"] is None:
            raise ManifestError(f"{voi_id}: its row names no lesion to build again")
        walk(rows[0], by_name, Path(raw), recipe or rows[0]["source"], line[0], replayed)
    _check_chained(masks, rows)
    return Explanation(voi_id, rows[-1]["layer"], links, raw is not None)


def _compared(line: list[Found], kind: str, link: Link) -> str | None:
    """Whether a file is the one of the manifest; None where the manifest names none."""
    found = next((one for one in line if _file_of(one.row, kind)[0]), None)
    if found is None:
        return None
    name, expected = _file_of(found.row, kind)
    path = voi_file(found.manifest, str(name))
    try:
        there = sha256_file(path) if path.is_file() else None
    except OSError:
        there = None
    if there is None or expected is None:
        return ABSENT
    if there == expected:
        return SAME
    link.detail = f"{path.name} is file {there[:16]}, the manifest says {expected[:16]}"
    return DIFFERS


def _file_of(row: Row, kind: str) -> tuple[str | None, str | None]:
    """Path and hash of the image or of the label."""
    if kind == "image":
        return row["image_path"], row["image_sha256"]
    return row["label_path"], row["label_sha256"]


def _check_chained(masks: list[Link], rows: list[Row]) -> None:
    """Check that every correction began with the mask that its parent's row states."""
    for number, row in enumerate(rows):
        changes = changes_of(row)
        if not changes or number == 0:
            continue
        ends = [(rows[number - 1]["label_voxels_sha256"] or "", changes[0].before)]
        ends += [(one.after, other.before) for one, other in pairwise(changes)]
        ends.append((changes[-1].after, row["label_voxels_sha256"] or "none"))
        for one, other in ends:
            if one[:16] != other[:16]:
                masks[number].differs(
                    f"mask {one[:16]} is followed by a correction of {other[:16]}"
                )
