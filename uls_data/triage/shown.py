"""The masks that are to be judged, in the order in which they are shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.errata.chain import root_of
from uls_data.errors import ManifestError, UlsDataError
from uls_data.io import sha256_file
from uls_data.manifest.choice import counting, layer_of, rank
from uls_data.manifest.held import codes_of
from uls_data.manifest.parquet import manifest_files, read_rows, read_table
from uls_data.manifest.query import query, unknown_words
from uls_data.manifest.row import Column, Row
from uls_data.manifest.schema import arrow_schema
from uls_data.manifest.sorting import order, sorting
from uls_data.triage.edited import Edited, Held
from uls_data.triage.listing import Entry, by_name
from uls_data.triage.steps import Key
from uls_data.triage.verdicts import Subject
from uls_data.triage.voi_layers import Layer, read_layer
from uls_data.triage.vois import Voi, decode, file_below

# A VOI takes 17 to 42 MB: the one shown, those before and behind it, and one more.
_KEPT = 4
_UNSHOWN = "candidate_scores"
# What names a mask; the same few texts stand in some of the columns.
_NAMES: tuple[Column, ...] = ("source", "voi_id", "layer", "parent_layer", "label_voxels_sha256")
_REPEATED = ("source", "layer", "parent_layer")
_FILES: tuple[Column, ...] = ("label_path", "image_path", "label_sha256")
_LAYER: tuple[Column, ...] = (
    *("source", "voi_id", "layer", "parent_layer", "label_path", "annotator"),
    *("spacing_x_mm", "spacing_y_mm", "spacing_z_mm", "affine"),
)
# Ranks above that count alike; ellipsoids, which rank no higher than this, are not shown.
_HIGHEST, _LOWEST = 1 << 40, -2


class Lesions:
    """The VOIs behind a build or an archive, in the order in which they are shown.

    Of each, only what names its mask is held in memory; its row is read when it is shown.

    Parameters
    ----------
    out : Path
        OUT folder, or one manifest of it.
    expression : str
        As `query` takes it; of the layers that meet it the preferred one of a VOI is judged.
    sort : str, optional
        Manifest column; the smallest values come first (`-column`: the largest), null last.
    listed : list of Entry, optional
        Only these VOIs, in this order unless `sort` gives another.

    Attributes
    ----------
    root : Path
        Folder that no file of a VOI may lie outside of.
    unknown : list of str
        VOIs of the list that are not among the masks.

    Raises
    ------
    ManifestError
        No mask meets the expression and the list, or `sort` is not a column to sort by.
    """

    def __init__(
        self,
        out: Path,
        expression: str = "",
        sort: str | None = None,
        listed: list[Entry] | None = None,
    ) -> None:
        self._files = manifest_files(out)
        self.root = out.resolve() if out.is_dir() else root_of(out).resolve()
        self._listed = listed or []
        self._places = by_name(self._listed)
        self._counting = np.flatnonzero(self._with_masks())
        self._numbers = self._meeting(expression)
        self._voi_ids: pa.ChunkedArray | None = None
        self._names = pa.table({name: self._column(name) for name in _NAMES})
        if listed is not None:
            on_list = pc.is_in(self._names["voi_id"], value_set=pa.array([*self._places]))
            self._take(np.flatnonzero(on_list.to_numpy()))
        # By its place on the list, else as it is in the manifest.
        places = np.zeros(len(self._numbers), np.int64)
        known: set[int] = set()
        for at, row in enumerate(self._names.to_pylist() if listed is not None else ()):
            meant = self._meant(row)
            places[at] = min(meant, default=-1)
            known.update(meant)
        self.unknown = [entry.voi_id for n, entry in enumerate(self._listed) if n not in known]
        self._take(_preferred(self._names, places))
        if not len(self):
            also = "" if listed is None else " and is on the list"
            hints = "".join(f"\n  {hint}" for hint in unknown_words(expression))
            raise ManifestError(
                f"{out}: no mask meets {expression!r}{also}: nothing to look at{hints}"
            )
        if sort is not None:
            column, largest_first = sorting(sort)
            self._take(np.array(self.order(column, descending=largest_first)))
        self._decoded: OrderedDict[int, Future[Voi]] = OrderedDict()
        # Of VOIs that somebody judged or named.
        self._subjects: dict[int, Subject] = {}
        self._known: dict[Key, int | None] = {}
        self._edited: dict[int, Edited] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._numbers)

    def _with_masks(self) -> NDArray[np.bool_]:
        """Whether each row of the manifests has a mask that counts."""
        kept = counting(self._files)
        for name in ("voi_id", "label_path"):
            kept &= read_table(self._files, [name])[name].is_valid().to_numpy()
        return kept

    def _meeting(self, expression: str) -> NDArray[np.int64]:
        """Numbers of the manifests' rows that meet the expression and have a mask that counts."""
        if not expression.strip():
            return self._counting
        met = query(self._files, expression, ["status"]).index.to_numpy()
        return self._counting[np.isin(self._counting, met)]

    def _column(self, name: str) -> pa.Array:
        """Return a manifest's column of the VOIs, in their order."""
        column = read_table(self._files, [name])[name].take(pa.array(self._numbers))
        return column.dictionary_encode() if name in _REPEATED else column

    def _take(self, order: NDArray[np.int64]) -> None:
        """Show these VOIs alone, in this order."""
        self._numbers, self._names = self._numbers[order], self._names.take(pa.array(order))

    def _meant(self, row: Row) -> list[int]:
        """Places on the list where a mask stands."""
        return [n for n, e in self._places.get(str(row["voi_id"]), ()) if e.is_of(row)]

    def subject(self, number: int) -> Subject:
        """Mask of a VOI, by its number in the order in which they are shown."""
        if (edited := self._edited.get(number)) is not None:
            return edited.subject
        return self.built(number)

    def built(self, number: int) -> Subject:
        """Mask of the manifest, whatever it was edited to."""
        if (known := self._subjects.get(number)) is not None:
            return known
        row: Row = self._names.slice(number, 1).to_pylist()[0]
        return _subject(row)

    def numbers(self, keys: Collection[Key]) -> dict[Key, int]:
        """Numbers of those of some VOIs that are shown; what is asked for once is remembered."""
        missing = [key for key in keys if key not in self._known]
        if missing:
            vois = pa.array(sorted({voi_id for _, voi_id in missing}), pa.string())
            at = np.flatnonzero(pc.is_in(self._names["voi_id"], value_set=vois).to_numpy())
            for number, row in zip(
                at.tolist(), self._names.take(pa.array(at)).to_pylist(), strict=True
            ):
                subject = self._subjects[number] = _subject(row)
                self._known[subject.key] = number
            for key in missing:
                self._known.setdefault(key, None)
        found = ((key, self._known[key]) for key in keys)
        return {key: number for key, number in found if number is not None}

    def named(self, voi_id: str, source: str = "") -> int | None:
        """Find a VOI by its name, of any source if none is said; None where it is not shown."""
        at = pc.indices_nonzero(pc.equal(self._names["voi_id"], voi_id)).to_pylist()
        rows = {number: self._names.slice(number, 1).to_pylist()[0] for number in at}
        return next((n for n, row in rows.items() if source in ("", row["source"])), None)

    def order(self, column: str, *, descending: bool = False) -> list[int]:
        """Numbers of the VOIs by a column, null last; ties as they stand."""
        return order(self._column(sorting(column)[0]), descending)

    def found(
        self, expression: str, column: str | None = None, *, descending: bool = False
    ) -> list[int]:
        """Numbers of the VOIs whose masks meet an expression, as `query` takes it.

        Raises
        ------
        ManifestError
            Not an expression, or no column to sort by.
        """
        at = np.arange(len(self))
        if column is not None:
            at = np.array(self.order(column, descending=descending))
        if expression.strip():
            met = query(self._files, expression, ["status"]).index.to_numpy()
            at = at[np.isin(self._numbers[at], met)]
        numbers: list[int] = at.tolist()
        return numbers

    def columns(self) -> list[str]:
        """Columns to sort by that tell these VOIs apart."""
        return [
            field.name
            for field in arrow_schema()
            if not pa.types.is_nested(field.type) and _differ(self._column(field.name))
        ]

    def edited(self) -> dict[int, str]:
        """Hashes of the masks that VOIs were edited to, by the numbers of the VOIs."""
        return {number: str(one.subject.sha256) for number, one in self._edited.items()}

    def held(self, number: int, row: Row) -> Held | None:
        """Mask that a VOI was edited to, see `Edited.held`; None where it was not edited."""
        edited = self._edited.get(number)
        return None if edited is None else edited.held(row)

    def set_edited(self, number: int, edited: Edited | None) -> None:
        """Show and judge this mask of a VOI instead of the manifest's; None: the manifest's."""
        if edited is None:
            self._edited.pop(number, None)
        else:
            self._edited[number] = edited

    def voi(self, number: int, *, edited: bool = True) -> Voi:
        """Decode a VOI, once for all who ask while it is kept.

        Parameters
        ----------
        edited : bool
            With the mask that it was edited to; else the manifest's.

        Raises
        ------
        ManifestError
            The manifest has changed in the meantime.
        """
        with self._lock:
            future = self._decoded.get(number)
            mine = future is None
            if future is None:
                future = self._decoded[number] = Future()
            self._decoded.move_to_end(number)
            while len(self._decoded) > _KEPT:
                self._decoded.popitem(last=False)
        if mine:
            try:
                future.set_result(self._read(number))
            except BaseException as error:
                future.set_exception(error)
                with self._lock:
                    self._decoded.pop(number, None)
                raise
        voi = future.result()
        return self._edited[number].on(voi) if edited and number in self._edited else voi

    def rows(self, numbers: Sequence[int], columns: Sequence[str]) -> dict[int, Row]:
        """Rows of VOIs by their numbers, as the manifest has them now.

        Raises
        ------
        ManifestError
            The manifest has changed in the meantime.
        """
        columns = [name for name in arrow_schema().names if name in {*_NAMES, *columns}]
        by_row = {int(self._numbers[number]): number for number in numbers}
        held = self._names.take(pa.array([by_row[at] for at in sorted(by_row)], pa.int64()))
        found: list[Row] = read_rows(self._files, sorted(by_row), columns).to_pylist()
        if len(found) != len(by_row) or any(
            row[name] != one[name]
            for row, one in zip(found, held.to_pylist(), strict=True)
            for name in _NAMES
        ):
            raise ManifestError("the manifest was changed: start `uls-data triage` again")
        return {by_row[at]: row for at, row in zip(sorted(by_row), found, strict=True)}

    def layers(self, number: int) -> list[Layer]:
        """All masks of a VOI that count, whatever was asked for: the judged one, then the best.

        If it was edited, the edited mask is first, and the one that was built is second.
        """
        subject = self.built(number)
        judged: Row = self._names.slice(number, 1).to_pylist()[0]
        if self._voi_ids is None:
            column = read_table(self._files, ["voi_id"])["voi_id"]
            self._voi_ids = column.take(pa.array(self._counting))
        at = pc.indices_nonzero(pc.equal(self._voi_ids, subject.voi_id)).to_numpy()
        rows = read_rows(self._files, self._counting[at].tolist(), _LAYER).to_pylist()
        rows = [row for row in rows if row["source"] == subject.source]
        rows.sort(key=lambda row: (row["layer"] != judged["layer"], -rank(row), row["layer"]))
        found = [read_layer(self.root, row) for row in rows]
        if (edited := self._edited.get(number)) is not None:
            first = found[0]
            found[0] = replace(first, name=f"{first.name}, as built", offered="")
            try:
                mask, start, _ = edited.held(first.row)
                found.insert(0, Layer(first.name, first.row, mask, start, words="edited"))
            except UlsDataError as error:
                found.insert(0, Layer(first.name, first.row, problem=str(error)))
        return found

    def described(self, numbers: Sequence[int]) -> dict[int, Subject | str]:
        """Masks that are as the manifest describes them, by the hashes of their files.

        For many VOIs at once: images are not decoded, nor are labels whose file has a hash.

        Returns
        -------
        dict of int to Subject or str
            Text says why no verdict can be given.
        """
        found: dict[int, Subject | str] = {}
        for number, row in self.rows(numbers, _FILES).items():
            try:
                if row["image_path"] is None:
                    raise ManifestError("there is no image to judge the mask by")
                file_below(self.root, row["image_path"])
                if number in self._edited:
                    found[number] = self._edited[number].subject
                    continue
                label = file_below(self.root, str(row["label_path"]))
                if row["label_sha256"] is None or row["label_voxels_sha256"] is None:
                    voi = self.voi(number)
                    found[number] = voi.subject or " ".join(voi.problems)
                    continue
                if sha256_file(label) != row["label_sha256"]:
                    raise ManifestError("the label file is not the one that the manifest describes")
                found[number] = _subject(row)
            except (ManifestError, OSError) as error:
                found[number] = str(error)
        return found

    def _read(self, number: int) -> Voi:
        names = [name for name in arrow_schema().names if name != _UNSHOWN]
        row = self.rows([number], names)[number]
        why = tuple(text for n in self._meant(row) for text in self._listed[n].why)
        return decode(self.root, row, _subject(row), why)


def _differ(column: pa.Array | pa.ChunkedArray) -> bool:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    low, high = pc.min_max(column).as_py().values()
    return bool(low != high)


def _subject(row: Row) -> Subject:
    # A further correction of a mask goes by the layer that the first one was made from.
    named = str(row["source"]), str(row["voi_id"]), layer_of(row)
    return Subject(*named, row["label_voxels_sha256"])


def _preferred(names: pa.Table, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Masks to show: of each VOI the preferred one; by their place, then as they stand.

    Parameters
    ----------
    names : Table
        `_NAMES` of each mask.
    places : ndarray
        Of each mask, from 0; negative: it is not to be shown.
    """
    kinds = codes_of(names["layer"]) * len(names) + codes_of(names["parent_layer"])
    _, first, kind = np.unique(kinds, return_index=True, return_inverse=True)
    layers: list[Row] = names.select(["layer", "parent_layer"]).take(first).to_pylist()
    ranks = np.array([min(rank(row), _HIGHEST) for row in layers], np.int64)[kind]
    at = np.flatnonzero((ranks > _LOWEST) & (places >= 0))
    vois = (codes_of(names["voi_id"]) * len(names) + codes_of(names["source"]))[at]
    order = np.lexsort((at, -ranks[at], vois))
    starts = np.flatnonzero(np.diff(vois[order], prepend=-1))
    best = at[order[starts]]
    # A VOI stands where its first mask does.
    seen = np.minimum.reduceat(at[order], starts) if len(at) else at
    result: NDArray[np.int64] = best[np.lexsort((seen, places[best]))]
    return result
