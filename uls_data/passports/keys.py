"""Keys of rows: 64 bits a name or a hash, to compare millions in seconds."""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.manifest.arrays import arrow_array, arrow_scalar, numpy_values
from uls_data.manifest.patients import patient_space
from uls_data.recipe import load_recipe, recipe_names

# Columns of manifest and passport that say which image a row shows, and of whom.
TEXTS = ("series_instance_uid", "source", "case_id", "patient_id")
COLUMNS = ("image_sha256", "image_voxels_sha256", "image_source_sha256", *TEXTS)
Numbers = NDArray[np.uint64]
# 64 bits are enough: of five million rows compared with five million others, two different ones
# have equal keys in about one of 700,000 such comparisons.
_ABSENT = np.uint64(0)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_CASE = np.uint64(0xD1B54A32D192ED03)
_NO_DIGIT = 255
_DIGITS = np.full(256, _NO_DIGIT, np.uint8)
_DIGITS[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
_SHA256_DIGITS = 64
# How many keys one may be behind the first with its leading bits before that place is searched for.
_LOOKS = 16


@dataclass(frozen=True)
class Keys:
    """Keys of rows, shape (rows,) each; 0 where there is none.

    Attributes
    ----------
    file, voxels : ndarray of uint64
        The image's file, and its voxels.
    scan_file, series, scan : ndarray of uint64
        The file that a VOI was cut from, its series, and its name: the source's patients and the
        case. A crosswalk gives a published name its series.
    patient, listed : ndarray of uint64
        Its patient, by its own row and by a crosswalk of its series.
    """

    file: Numbers
    voxels: Numbers
    scan_file: Numbers
    series: Numbers
    scan: Numbers
    patient: Numbers
    listed: Numbers

    @property
    def nameless(self) -> NDArray[np.bool_]:
        """Rows of which neither a hash nor a series is known."""
        known = self.file | self.voxels | self.scan_file | self.series
        return np.asarray(known == _ABSENT)

    def chosen(self, rows: NDArray[np.bool_]) -> Keys:
        """Keys of some rows."""
        return Keys(*(getattr(self, field.name)[rows] for field in fields(self)))

    def compact(self) -> Keys:
        """Keys without missing ones and most repeats; they no longer belong to rows."""
        found = (runs(getattr(self, field.name))[0] for field in fields(self))
        return Keys(*(keys[keys != _ABSENT] for keys in found))


class Index:
    """Keys to look among.

    Keys are spread evenly, so their leading bits tell where in the order one must be: that takes
    one look where a binary search takes twenty, each of which waits for memory.

    Parameters
    ----------
    parts : list of ndarray of uint64
        Keys, with repeats and missing ones. The list is emptied: they are many.
    """

    def __init__(self, parts: list[Numbers]) -> None:
        keys = np.concatenate([np.empty(0, np.uint64), *parts])
        parts.clear()
        keys.sort()
        first = keys != _ABSENT
        first[1:] &= keys[1:] != keys[:-1]
        self._keys: Numbers = keys[first]
        bits = max(1, len(self._keys).bit_length() - 1)
        self._shift = np.uint64(64 - bits)
        leading = (self._keys >> self._shift).view(np.int64)
        counts = np.bincount(leading, minlength=1 << bits)
        self._starts = (np.cumsum(counts) - counts).astype(np.int32)

    def __len__(self) -> int:
        return len(self._keys)

    def has(self, keys: Numbers) -> NDArray[np.bool_]:
        """Whether each key is there; a missing one is not."""
        if not len(self._keys):
            return np.zeros(len(keys), bool)
        words, rows = runs(keys)
        last = len(self._keys) - 1
        at = np.minimum(self._starts[words >> self._shift], last)
        found = self._keys[at]
        left = np.flatnonzero((found < words) & (at < last))
        for _ in range(_LOOKS):
            if not len(left):
                break
            at[left] += 1
            found[left] = self._keys[at[left]]
            left = left[(found[left] < words[left]) & (at[left] < last)]
        if len(left):  # keys that are not spread evenly
            place = np.minimum(np.searchsorted(self._keys, words[left]), last)
            found[left] = self._keys[place]
        return np.asarray((found == words)[rows])


@dataclass(frozen=True)
class Known:
    """Keys to look among.

    Attributes
    ----------
    file, voxels, scan_file, series, scan : Index
        As of `Keys`.
    people : Index
        Patients, by rows and by crosswalks.
    """

    file: Index
    voxels: Index
    scan_file: Index
    series: Index
    scan: Index
    people: Index

    def __bool__(self) -> bool:
        return any(len(getattr(self, field.name)) for field in fields(self))


def known(parts: list[Keys]) -> Known:
    """Join the keys of several tables, and empty the list: they are many."""
    lists: dict[str, list[Numbers]] = {field.name: [] for field in fields(Known)}
    while parts:
        part = parts.pop()
        for name, of in lists.items():
            of += [part.patient, part.listed] if name == "people" else [getattr(part, name)]
        del part
    return Known(**{name: Index(lists.pop(name)) for name in list(lists)})


def runs(keys: Numbers) -> tuple[Numbers, NDArray[np.intp]]:
    """Keys without repeats of the one before, and which of them each row has."""
    if not len(keys):
        return keys, np.empty(0, np.intp)
    new = np.concatenate([[True], keys[1:] != keys[:-1]])
    return keys[new], np.cumsum(new) - 1


def keys_of(table: pa.Table) -> Keys:
    """Keys of the rows of a manifest or a passport, with `COLUMNS`."""
    series = words(table["series_instance_uid"])
    space = words(table["source"], patient_space)
    case, person = words(table["case_id"]), words(table["patient_id"])
    scan = _pair(space, case)
    patient = np.where(person == _ABSENT, _pair(space, case ^ _CASE), _pair(space, person))
    names = _crosswalk()
    series = np.where(series == _ABSENT, _found(scan, names.scans, names.series_of), series)
    return Keys(
        _digests(table["image_sha256"]),
        _digests(table["image_voxels_sha256"]),
        _digests(table["image_source_sha256"]),
        series,
        scan,
        patient,
        _found(series, names.series, names.patient_of),
    )


def hash_bytes(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Hashes of 64 hexadecimal digits as 32 bytes each; null where there is no such hash."""
    if column.null_count == len(column):
        return pa.nulls(len(column), pa.binary(32))
    octets, good = _octets(column, _SHA256_DIGITS)
    packed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(32), len(good), [None, pa.py_buffer(octets)]
    )
    return (
        packed if good.all() else pc.if_else(pa.array(good), packed, pa.scalar(None, packed.type))
    )


def _octets(column: pa.ChunkedArray | pa.Array, count: int) -> tuple[bytes, NDArray[np.bool_]]:
    """First digits of each hash, two a byte, and which rows have a hash."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    whole = arrow_scalar(_SHA256_DIGITS, pa.int32())
    good = pc.fill_null(pc.equal(pc.binary_length(array), whole), arrow_scalar(False, pa.bool_()))
    none = arrow_scalar("0" * _SHA256_DIGITS, pa.string())
    text = array if good.false_count == 0 else pc.if_else(good, array, none)
    offsets = np.frombuffer(text.buffers()[1], np.int32)[text.offset : text.offset + len(text) + 1]
    start, stop = (int(offsets[0]), int(offsets[-1])) if len(text) else (0, 0)
    letters = np.frombuffer(text.buffers()[2] or b"", np.uint8)[start:stop]
    letters = np.ascontiguousarray(letters.reshape(len(text), _SHA256_DIGITS)[:, :count])
    there = numpy_values(good)
    # Hashes are written in small letters.
    if not (letters & np.uint8(0x60) == 0x40).any():
        try:
            return unhexlify(letters.tobytes()), there
        except ValueError:
            pass
    digits = _DIGITS[letters]
    octets = np.ascontiguousarray(digits[:, ::2] << 4 | digits[:, 1::2])
    return octets.tobytes(), there & (digits != _NO_DIGIT).all(axis=1)


def _digests(column: pa.ChunkedArray) -> Numbers:
    """First 64 bits of each hash."""
    array = column.combine_chunks()
    if array.null_count == len(array):
        return np.zeros(len(array), np.uint64)
    if not pa.types.is_fixed_size_binary(array.type):
        first, there = _octets(array, 16)
        keys = np.maximum(np.frombuffer(first, np.uint64), np.uint64(1))
        return np.where(there, keys, _ABSENT)
    octets = np.frombuffer(array.buffers()[1], np.uint8).reshape(-1, 32)
    octets = octets[array.offset : array.offset + len(array)]
    keys = np.ascontiguousarray(octets[:, :8]).view(np.uint64).ravel()
    return _masked(keys, array)


def words(column: pa.ChunkedArray, named: Callable[[str], str] | None = None) -> Numbers:
    """Key of each word of a column of text; 0 for null. Equal words have one, in this process."""
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    # Part by part: merging dictionaries takes longer than hashing all their words.
    return np.concatenate([np.empty(0, np.uint64), *(_coded(p, named) for p in column.chunks)])


def _coded(part: pa.DictionaryArray, named: Callable[[str], str] | None) -> Numbers:
    words = part.dictionary.to_pylist()
    if not words:
        return np.zeros(len(part), np.uint64)
    if named is not None:
        words = [named(word) for word in words]
    keys = np.array([hash(word) & 0xFFFFFFFFFFFFFFFF for word in words], np.uint64)
    return _masked(keys[numpy_values(part.indices)], part.indices)


def _masked(keys: Numbers, array: pa.Array) -> Numbers:
    keys = np.maximum(keys, np.uint64(1))
    if array.null_count:
        keys[numpy_values(array.is_null())] = _ABSENT
    return keys


def _pair(one: Numbers, other: Numbers) -> Numbers:
    there = (one != _ABSENT) & (other != _ABSENT)
    return np.where(there, np.maximum(one * _ODD + other, np.uint64(1)), _ABSENT)


@dataclass(frozen=True)
class _Crosswalk:
    scans: Numbers
    series_of: Numbers
    series: Numbers
    patient_of: Numbers


@cache
def _crosswalk() -> _Crosswalk:
    """Return published names, series and patients of the crosswalks of all shipped recipes."""
    rows = list(_entries())
    space, case, series, patient = (
        words(pa.chunked_array([arrow_array([row[at] for row in rows], pa.string())]))
        for at in range(4)
    )
    scan, person = _pair(space, case), _pair(space, patient)
    by_scan, by_series = np.argsort(scan), np.argsort(series)
    return _Crosswalk(scan[by_scan], series[by_scan], series[by_series], person[by_series])


def _entries() -> Iterator[tuple[str, str, str, str]]:
    for name in recipe_names():
        recipe = load_recipe(name).recipe
        for row in getattr(recipe.reader, "crosswalk", ()):
            yield patient_space(recipe.source), row.case, row.series_instance_uid, row.patient


def _found(keys: Numbers, names: Numbers, values: Numbers) -> Numbers:
    """Value of each key in a sorted table; 0 where it has none."""
    if not len(names) or not len(keys):
        return np.zeros(len(keys), np.uint64)
    at = np.minimum(np.searchsorted(names, keys), len(names) - 1)
    return np.where((names[at] == keys) & (keys != _ABSENT), values[at], _ABSENT)
