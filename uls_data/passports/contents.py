"""A passport in numbers: what it holds of each source."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from uls_data.passports.document import Passport
from uls_data.passports.keys import COLUMNS, Numbers, keys_of, runs, words

_GROUPED_BY = ("stage", "role", "source")
_MADE_BY = ("recipe_sha256", "model_sha256")
_ODD = np.uint64(0xA0761D6478BD642F)


@dataclass
class Group:
    """Rows of one source in one role at one stage.

    Attributes
    ----------
    stage : int
    role : str
        `trained`, `heldout` or `left_out`.
    source : str or None
    rows, lesions, scans, patients : int
        A scan is a series, or a case where none is known.
    recipes, models : list of str
        Hashes of the recipes that made the VOIs, and of the models that made their masks.
    """

    stage: int
    role: str
    source: str | None
    rows: int = 0
    lesions: int = 0
    scans: int = 0
    patients: int = 0
    recipes: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


def contents(passport: Passport) -> list[Group]:
    """Count the rows of a passport, by stage, role and source.

    Raises
    ------
    PassportError
    """
    groups: dict[tuple[Any, ...], Group] = {}
    keys: dict[tuple[Any, ...], list[tuple[Numbers, ...]]] = defaultdict(list)
    made: dict[tuple[Any, ...], tuple[set[str | None], set[str | None]]] = {}
    for table in passport.tables(("stage", "role", "lesion_index", *COLUMNS, *_MADE_BY)):
        kinds = table.select(_GROUPED_BY).group_by(list(_GROUPED_BY)).aggregate([])
        for kind in kinds.select(_GROUPED_BY).to_pylist():
            key = tuple(kind[name] for name in _GROUPED_BY)
            some = table.filter(_are(table, kind))
            groups.setdefault(key, Group(*key)).rows += len(some)
            keys[key].append(_keys(some))
            sets = made.setdefault(key, (set(), set()))
            for values, name in zip(sets, _MADE_BY, strict=True):
                values.update(pc.unique(some[name]).to_pylist())
    for key, group in groups.items():
        counts = [len(np.unique(np.concatenate(parts))) for parts in zip(*keys[key], strict=True)]
        group.lesions, group.scans, group.patients = counts
        group.recipes, group.models = (sorted(filter(None, some)) for some in made[key])
    return [groups[key] for key in sorted(groups, key=lambda key: (*key[:2], key[2] or ""))]


def _are(table: pa.Table, kind: dict[str, Any]) -> pa.ChunkedArray:
    """Rows of one stage, role and source."""
    source = kind["source"]
    of_source = pc.is_null(table["source"]) if source is None else pc.equal(table["source"], source)
    rows = pc.and_(pc.equal(table["stage"], kind["stage"]), pc.equal(table["role"], kind["role"]))
    return pc.fill_null(pc.and_(rows, of_source), False)


def _keys(table: pa.Table) -> tuple[Numbers, ...]:
    """Keys of lesions, scans and patients."""
    keys = keys_of(table)
    case = np.where(keys.scan == 0, words(table["case_id"]), keys.scan)
    lesion = pc.fill_null(table["lesion_index"], -1).to_numpy().astype(np.int64).view(np.uint64)
    patient = np.where(keys.patient == 0, case, keys.patient)
    scan = np.where(keys.series == 0, case, keys.series)
    return tuple(runs(some)[0] for some in (case * _ODD + lesion, scan, patient))
