"""Which rows of manifests a model has seen, under any name, by what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.manifest.arrays import arrow_scalar, numpy_values
from uls_data.manifest.parquet import count_rows, iterate_tables, manifest_files, read_rows
from uls_data.manifest.row import Row
from uls_data.outcome import Status
from uls_data.passports.document import TRAINED, Passport
from uls_data.passports.keys import COLUMNS, TEXTS, Index, Keys, Known, keys_of, known, runs

SAME_FILE, SAME_VOXELS, SAME_SERIES, SAME_PATIENT = (
    *("same_file", "same_voxels", "same_series", "same_patient"),
)
KINDS = {
    SAME_FILE: "the same image file",
    SAME_VOXELS: "an image of the same voxels",
    SAME_SERIES: "another VOI of the same scan",
    SAME_PATIENT: "the same person",
}
_SHOWN = ("source", "case_id", "patient_id", "voi_id", "layer", "split")
_AT_A_TIME = 1 << 13
_ROWS_AT_A_TIME = 1 << 16
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Seen:
    """What a model has seen of the rows of manifests.

    Attributes
    ----------
    files : list of Path
    passport : Passport
    judged : ndarray of bool, shape (rows,)
        Rows with a VOI (status ok), in the order of the files; the others show nothing.
    kinds : dict of str to ndarray of bool, shape (rows,)
        Rows that share this with a row that trained the model, by `KINDS`.
    heldout : ndarray of bool, shape (rows,)
        Rows of nobody that trained it, whose patient or scan its training held or left out.
    untold : ndarray of bool, shape (rows,)
        Rows of which nobody can say: not found by name, and without a hash and a series; with a
        passport that is not complete, all that are not found.
    nameless : int
        Rows that trained the model and have neither hash nor series: known by name alone.
    """

    files: list[Path]
    passport: Passport
    judged: Mask
    kinds: dict[str, Mask]
    heldout: Mask
    untold: Mask
    nameless: int

    @property
    def seen(self) -> Mask:
        """Rows that the model has seen, in any way."""
        found: Mask = np.logical_or.reduce(list(self.kinds.values()))
        return found

    def rows(self, which: Mask) -> Iterator[tuple[Row, list[str]]]:
        """Read some rows, and name the kinds of what they share with the model's."""
        for some in _numbers(which):
            rows = read_rows(self.files, some.tolist(), _SHOWN).to_pylist()
            for number, row in zip(some, rows, strict=True):
                yield row, [kind for kind, found in self.kinds.items() if found[number]]


def _numbers(which: Mask) -> Iterator[NDArray[np.intp]]:
    """Numbers of rows, some at a time: those of all would take eight bytes a row."""
    waiting = np.empty(0, np.intp)
    for start in range(0, len(which), _ROWS_AT_A_TIME):
        here = np.flatnonzero(which[start : start + _ROWS_AT_A_TIME]) + start
        waiting = np.concatenate([waiting, here])
        while len(waiting) >= _AT_A_TIME:
            yield waiting[:_AT_A_TIME]
            waiting = waiting[_AT_A_TIME:]
    if len(waiting):
        yield waiting


def seen_by(passport: Passport, manifests: str | Path | Sequence[str | Path]) -> Seen:
    """Compare manifests with a passport.

    Files and voxels are compared by their hashes, scans by the hash of the file that a VOI was
    cut from, by series and by name, patients by name; names are those that the crosswalks of
    recipes know. Who has a scan that the model has seen is somebody whom it has seen, by
    whichever name: all rows of that patient count.

    Raises
    ------
    ManifestError, PassportError
    """
    files = manifest_files(manifests)
    trained, others, nameless = _of_model(passport)
    rows = sum(count_rows(file) for file in files)
    ok, unnamed = np.zeros(rows, bool), np.zeros(rows, bool)
    ours, apart = _Found(rows, trained), _Found(rows, others)
    start = 0
    for table in _ahead(_tables(files)):
        here = slice(start, start + len(table))
        keys = keys_of(table)
        ok[here] = numpy_values(pc.equal(table["status"], _word(Status.OK.value)))
        unnamed[here] = keys.nameless
        for found in (ours, apart):
            found.look(keys, here)
        start = here.stop
    # A row without a VOI may still tell whose scan it is.
    kinds = {kind: found & ok for kind, found in ours.kinds(np.ones(rows, bool)).items()}
    left = ok & ~np.logical_or.reduce(list(kinds.values()))
    heldout = np.logical_or.reduce(list(apart.kinds(left).values()))
    untold = left if not passport.complete else left & unnamed
    return Seen(files, passport, ok, kinds, heldout, untold, nameless)


def _tables(files: Sequence[Path]) -> Iterator[pa.Table]:
    for file in files:
        yield from iterate_tables(file, (*COLUMNS, "status"), _ROWS_AT_A_TIME, TEXTS)


def _ahead(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables, each read while the one before it is compared."""
    with ThreadPoolExecutor(1, "tables") as pool:
        coming = pool.submit(next, tables, None)
        while (table := coming.result()) is not None:
            coming = pool.submit(next, tables, None)
            yield table


def _of_model(passport: Passport) -> tuple[Known, Known, int]:
    """Keys of what trained it, of what it held or left out, and how many of it have but a name."""
    trained, others = [], []
    nameless = 0
    for table in _ahead(passport.tables((*COLUMNS, "role", "stage"), TEXTS)):
        keys = keys_of(table)
        of_training = numpy_values(pc.equal(table["role"], _word(TRAINED)))
        if not of_training.all():
            others.append(keys.chosen(~of_training).compact())
            keys = keys.chosen(of_training)
        nameless += int(keys.nameless.sum())
        trained.append(keys.compact())
    return known(trained), known(others), nameless


def _word(word: str) -> pa.Scalar:
    return arrow_scalar(word, pa.string())


class _Found:
    """Rows of manifests, looked up among what is known, some at a time."""

    def __init__(self, rows: int, among: Known) -> None:
        self._known = among
        self._masks = {kind: np.zeros(rows, bool) for kind in KINDS}
        self._patient = np.zeros(rows if among else 0, np.uint64)

    def look(self, keys: Keys, here: slice) -> None:
        """Look up the keys of some rows."""
        if not self._known:
            return
        of, masks = self._known, self._masks
        masks[SAME_FILE][here] = of.file.has(keys.file)
        masks[SAME_VOXELS][here] = of.voxels.has(keys.voxels)
        masks[SAME_SERIES][here] = (
            of.scan_file.has(keys.scan_file) | of.series.has(keys.series) | of.scan.has(keys.scan)
        )
        masks[SAME_PATIENT][here] = of.people.has(keys.patient) | of.people.has(keys.listed)
        self._patient[here] = keys.patient

    def kinds(self, rows: Mask) -> dict[str, Mask]:
        """Those of some rows that share something, by `KINDS`.

        Who has a scan that is known is a patient who is known: all rows of that patient count.
        """
        found = {kind: mask & rows for kind, mask in self._masks.items()}
        matched = found[SAME_FILE] | found[SAME_VOXELS] | found[SAME_SERIES]
        if matched.any():
            people = Index([runs(self._patient[matched])[0]])
            whose = np.zeros_like(matched)
            for start in range(0, len(rows), _ROWS_AT_A_TIME):
                some = slice(start, start + _ROWS_AT_A_TIME)
                whose[some] = people.has(self._patient[some])
            found[SAME_PATIENT] |= rows & (matched | whose)
        return found
