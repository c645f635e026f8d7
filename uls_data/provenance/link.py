"""The links of a VOI's chain, and what a manifest's row states of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uls_data.errata import changes_of
from uls_data.manifest.by_axis import click_in_scan, padding_by_axis, spacing_of
from uls_data.manifest.row import Row

SAME, DIFFERS, ABSENT, UNKNOWN = "same", "differs", "absent", "not known"
_AXES = "xyz"
# What a row states of each link; the first column that is a hash is the link's own.
STATES: dict[str, tuple[str, ...]] = {
    "raw image": ("image_source_sha256", "image_source"),
    "raw label": ("label_source_sha256", "label_source"),
    "decoded voxels": tuple(f"spacing_{axis}_mm" for axis in _AXES),
    "recipe": ("recipe_sha256", "recipe_version", "profile", "seed"),
    "instance": ("lesion_index", "source_lesion_id", "agreement_level", "lesion_type"),
    "click": ("sample_index", *(f"click_{axis}_vox" for axis in _AXES)),
    "VOI": (
        *("image_voxels_sha256", "affine", "pad_value_hu", "hu_min", "hu_max"),
        *(f"voi_origin_{axis}_vox" for axis in _AXES),
        *(f"pad_{side}_{axis}_vox" for side in ("before", "after") for axis in _AXES),
    ),
    "mask": (
        *("label_voxels_sha256", "layer", "supervision", "mask_voxels", "volume_mm3"),
        *("long_axis_vox", "short_axis_vox", "long_axis_mm", "short_axis_mm"),
    ),
}


@dataclass
class Link:
    """One link of the chain.

    Attributes
    ----------
    name : str
        A key of `STATES`; `mask` once for every layer.
    states : dict
        Columns of the manifest.
    sha256 : str
        The link's own hash where there is one, of a file or of voxels; else that of its columns.
    chain_sha256 : str
        Hash over this link and all before it: equal for two people who hold the same VOI, down
        to here.
    words : str
    file : str or None
        Whether the file on disk is the one of the manifest: `same`, `differs`, `absent`.
    walked : str or None
        Whether walking from the raw data gives the same: `same`, `differs`, `not known`.
    detail : str
        What differs.
    """

    name: str
    states: dict[str, Any]
    sha256: str
    chain_sha256: str
    words: str
    file: str | None = None
    walked: str | None = None
    detail: str = ""

    @property
    def broken(self) -> bool:
        """Whether the chain breaks here."""
        return DIFFERS in (self.file, self.walked)

    def differs(self, detail: str) -> None:
        """Break the chain here."""
        self.walked, self.detail = DIFFERS, "; ".join(filter(None, (self.detail, detail)))


def links_of(rows: list[Row]) -> list[Link]:
    """Links behind a mask, from the raw files on.

    Parameters
    ----------
    rows : list of dict
        The layer that was cut first, then those made from each other.
    """
    links: list[Link] = []
    before = ""
    for number, row in enumerate(rows):
        for name in list(STATES) if number == 0 else ["mask"]:
            states = _states(name, row)
            own = hashlib.sha256(json.dumps(states, sort_keys=True).encode()).hexdigest()
            before = hashlib.sha256(f"{before}\n{name}\n{own}".encode()).hexdigest()
            stated = next((states[c] for c in states if c.endswith("sha256")), None)
            links.append(Link(name, states, stated or own, before, _words(name, row)))
    return links


def _states(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {column: row[column] for column in STATES[name]}


def _words(name: str, row: Row) -> str:
    match name:
        case "raw image" | "raw label":
            source = row["image_source"] if name == "raw image" else row["label_source"]
            return f"read from {source}" if source else "not recorded"
        case "decoded voxels":
            spacing = spacing_of(row)
            known = " x ".join(f"{mm:.4g}" for mm in spacing if mm is not None)
            return f"turned to RAS, never resampled; spacing {known or 'not known'} mm"
        case "recipe":
            return (
                f"{row['source']} version {row['recipe_version']}, profile {row['profile']}, "
                f"seed {row['seed']}"
            )
        case "instance":
            theirs = f", {row['source_lesion_id']} at the source" if row["source_lesion_id"] else ""
            return f"lesion {row['lesion_index']} of case {row['case_id']}{theirs}"
        case "click":
            at = click_in_scan(row)
            where = f"at scan voxel {at}" if None not in at else "at a voxel not recorded"
            return f"sample {row['sample_index']}, {where}"
        case "VOI":
            padded = any(before or after for before, after in padding_by_axis(row))
            pad = f", padded with {row['pad_value_hu']}" if padded else ""
            return f"256 x 256 x 128 around the click{pad}"
    return _mask_words(row)


def _mask_words(row: Row) -> str:
    words = f"layer {row['layer']}"
    if row["parent_layer"]:
        words += f" from {row['parent_layer']}"
    if row["model_sha256"]:
        words += f" by model {row['model_sha256'][:16]}"
    if row["status"] != "ok":
        words += f": {row['status']}, {row['reason']}"
    elif row["mask_voxels"] is not None:
        words += f": {row['mask_voxels']} voxels"
    told = "; ".join(change.words() for change in changes_of(row))
    return f"{words}; {told}" if told else words
