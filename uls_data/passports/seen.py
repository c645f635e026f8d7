"""Which rows of manifests a model has seen, under any name, by what they share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.manifest.parquet import count_rows, iterate_tables, manifest_files, read_rows
from uls_data.manifest.row import Row
from uls_data.outcome import Status
from uls_data.passports.document import TRAINED, Passport
from uls_data.passports.keys import COLUMNS, Keys, Numbers, blank, joined, keys_of, runs

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
_KEYS_AT_A_TIME = 1 << 19
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
        numbers = np.flatnonzero(which)
        for start in range(0, len(numbers), _AT_A_TIME):
            some = numbers[start : start + _AT_A_TIME]
            rows = read_rows(self.files, some.tolist(), _SHOWN).to_pylist()
            for number, row in zip(some, rows, strict=True):
                yield row, [kind for kind, found in self.kinds.items() if found[number]]


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
    with ThreadPoolExecutor(1, "passport") as pool:
        of_model = pool.submit(_of_model, passport)
        ours, ok = _of_manifests(files)
        trained, others, nameless = of_model.result()
    kinds = _shared(ours, trained)
    for found in kinds.values():
        found &= ok
    seen = np.logical_or.reduce(list(kinds.values()))
    left = ok & ~seen
    heldout = np.zeros(len(ok), bool)
    if len(others.scan) and left.any():
        apart = _shared(ours.chosen(left), others)
        heldout[left] = np.logical_or.reduce(list(apart.values()))
    untold = left if not passport.complete else left & ours.nameless
    return Seen(files, passport, ok, kinds, heldout, untold, nameless)


def _of_manifests(files: Sequence[Path]) -> tuple[Keys, Mask]:
    """Keys of all rows, and which of them have a VOI."""
    keys = blank(sum(count_rows(file) for file in files))
    ok = np.zeros(len(keys.file), bool)
    start = 0
    for file in files:
        for table in iterate_tables(file, (*COLUMNS, "status"), _ROWS_AT_A_TIME):
            stop = start + len(table)
            keys_of(table).copy_to(keys, start)
            ok[start:stop] = np.array(pc.equal(table["status"], Status.OK.value), bool)
            start = stop
    return keys, ok


def _of_model(passport: Passport) -> tuple[Keys, Keys, int]:
    """Keys of what trained it, of what it held or left out, and how many of it have but a name."""
    trained, others = [], []
    nameless = 0
    for table in passport.tables((*COLUMNS, "role", "stage")):
        keys = keys_of(table)
        of_training = np.array(pc.equal(table["role"], TRAINED), bool)
        if not of_training.all():
            others.append(keys.chosen(~of_training).compact())
            keys = keys.chosen(of_training)
        nameless += int(keys.nameless.sum())
        trained.append(keys.compact())
    return joined(trained), joined(others), nameless


def _shared(ours: Keys, theirs: Keys) -> dict[str, Mask]:
    same_file = _among(ours.file, theirs.file)
    voxels = _among(ours.voxels, theirs.voxels)
    scan = _among(ours.scan_file, theirs.scan_file)
    scan |= _among(ours.series, theirs.series)
    scan |= _among(ours.scan, theirs.scan)
    people = _telling(theirs.patient, theirs.listed)
    patient = _among(ours.patient, people) | _among(ours.listed, people)
    matched = same_file | voxels | scan
    if matched.any():
        patient |= matched | _among(ours.patient, _telling(ours.patient[matched]))
    return {SAME_FILE: same_file, SAME_VOXELS: voxels, SAME_SERIES: scan, SAME_PATIENT: patient}


def _telling(*keys: Numbers) -> Numbers:
    """Keys in order; rows without one left out."""
    found = np.concatenate([key[key != 0] for key in keys]) if len(keys) > 1 else keys[0]
    found = found if found.all() else found[found != 0]
    return np.sort(found)


def _among(keys: Numbers, others: Numbers) -> Mask:
    """Whether each key is one of the others; a missing one is not."""
    table = _telling(others)
    found = np.zeros(len(keys), bool)
    if not len(table):
        return found
    for start in range(0, len(keys), _KEYS_AT_A_TIME):
        words, at = runs(keys[start : start + _KEYS_AT_A_TIME])
        # In order: a search at random would wait for memory at every step.
        order = np.argsort(words)
        words = words[order]
        place = np.minimum(np.searchsorted(table, words), len(table) - 1)
        there = np.empty(len(words), bool)
        there[order] = table[place] == words
        found[start : start + _KEYS_AT_A_TIME] = there[at]
    return found
