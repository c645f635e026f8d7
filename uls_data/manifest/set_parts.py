"""Parts of a set, drawn by patient, with as many lesions of each kind as is wanted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from uls_data.errors import ManifestError, did_you_mean
from uls_data.ids import hash_of
from uls_data.manifest.choice import counting
from uls_data.manifest.parquet import manifest_files, read_rows
from uls_data.manifest.patients import patient_groups, patient_key
from uls_data.manifest.row import Row
from uls_data.manifest.schema import arrow_schema
from uls_data.recipe.model import PART_NAME

_UNKNOWN = "unknown"
_COLUMNS = (
    *("source", "case_id", "patient_id", "lesion_index", "source_split"),
    *("image_source_sha256", "image_voxels_sha256", "lesion_track_id"),
)


@dataclass
class SetPart:
    """Patients of one part.

    Attributes
    ----------
    name : str
    patients : dict of str to list of str
        Ids by source, sorted.
    lesions : Counter of str
        By the value that the draw is balanced by.
    """

    name: str
    patients: dict[str, list[str]] = field(default_factory=dict)
    lesions: Counter[str] = field(default_factory=Counter)

    def add(self, rows: Sequence[Row], by: str) -> None:
        """Take the lesions of a patient."""
        for row in rows:
            ids = self.patients.setdefault(row["source"], [])
            if row["patient_id"] is not None and row["patient_id"] not in ids:
                ids.append(row["patient_id"])
                ids.sort()
            self.lesions[_value(row, by)] += 1


@dataclass(frozen=True)
class Parted:
    """A draw.

    Attributes
    ----------
    drawn : SetPart
    rest : SetPart or None
        All others, where they are given a name.
    left_out : Counter of str
        Lesions that no part can have, and why.
    """

    drawn: SetPart
    rest: SetPart | None
    left_out: Counter[str]


def split(
    paths: str | Path | Sequence[str | Path],
    lesions: int,
    *,
    by: str = "source",
    name: str = "validation",
    rest: str | None = None,
    seed: int = 0,
) -> Parted:
    """Draw patients until a part has as many lesions of each value of a column as is wanted.

    Patients come in an order that seed, part and their own names decide, nothing else, those with
    lesions of the rarest value first; one is taken if no value then has more lesions than wanted.
    So the last places go to patients with few lesions, and a value whose patients are too few or
    have too many stays short. Those who share a scan or a followed lesion are one patient. Who is
    in a part already (`source_split`) is not drawn.

    Parameters
    ----------
    paths : path or sequence of paths
        Manifests; lesions with a mask that counts are drawn, each once.
    lesions : int
        Of each value.
    by : str
        Manifest column of text, such as `source` where each centre has a recipe of its own, or
        `lesion_type`.
    name, rest : str
        Of the part, and of what is left.
    seed : int

    Raises
    ------
    ManifestError
        No manifest, no such column, no such name, or nothing to draw from.
    """
    if lesions < 1:
        raise ManifestError(f"--lesions {lesions}: expected at least 1")
    for given in (name, rest or name):
        if not re.fullmatch(PART_NAME, given):
            raise ManifestError(
                f"{given!r}: expected small letters, digits and _ for a part's name"
            )
    if rest == name:
        raise ManifestError(f"--rest {rest}: the parts need two names")
    schema = arrow_schema()
    texts = [field.name for field in schema if pt.is_string(field.type)]
    if by not in texts:
        raise ManifestError(f"--by {by}: no column of text.{did_you_mean(by, texts)}")
    left_out: Counter[str] = Counter()
    groups = _patients(paths, by, left_out)
    if not groups:
        why = ", ".join(f"{count} {words}" for words, count in left_out.items()) or "none counts"
        raise ManifestError(f"no lesion to draw: {why}")
    drawn, others = SetPart(name), SetPart(rest or "")
    order = sorted(groups, key=lambda group: hash_of([f"{seed}", name, group]))
    found = {patient: Counter(_value(row, by) for row in groups[patient]) for patient in order}
    every = sum(found.values(), Counter[str]())
    # The rarest first: patients who have it bring others along.
    for value in sorted(every, key=lambda value: (every[value], value)):
        for patient in [patient for patient in order if value in found.get(patient, ())]:
            now = found[patient]
            if all(drawn.lesions[it] + count <= lesions for it, count in now.items()):
                drawn.add(groups[patient], by)
                del found[patient]
    for patient in found:
        others.add(groups[patient], by)
    return Parted(drawn, others if rest is not None else None, left_out)


def _patients(
    paths: str | Path | Sequence[str | Path], by: str, left_out: Counter[str]
) -> dict[str, list[Row]]:
    """Return a row of each lesion by its patient."""
    files = manifest_files(paths)
    numbers = np.flatnonzero(counting(files)).tolist()
    table: pa.Table = read_rows(files, numbers, list(dict.fromkeys((*_COLUMNS, by))))
    rows: list[Row] = table.to_pylist()
    group_of = patient_groups(rows)
    lesions: dict[tuple[str, str, int | None], Row] = {}
    for row in rows:
        lesions.setdefault((row["source"], row["case_id"], row["lesion_index"]), row)
    taken = {group_of[patient_key(row)] for row in rows if row["source_split"] is not None}
    found: dict[str, list[Row]] = {}
    for _, row in sorted(lesions.items(), key=lambda pair: (*pair[0][:2], pair[0][2] or 0)):
        if row["patient_id"] is None:
            left_out["of unknown patients"] += 1
        elif group_of[patient_key(row)] in taken:
            left_out["in a part already (source_split)"] += 1
        else:
            found.setdefault(group_of[patient_key(row)], []).append(row)
    return found


def _value(row: Row, by: str) -> str:
    return str(row[by] or _UNKNOWN)  # type: ignore[literal-required]
