"""Rows of manifests held by column: a million take some hundred MB, as dicts they take some GB."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from uls_data.errors import ManifestError
from uls_data.manifest.parquet import count_rows, iterate_rows, read_table
from uls_data.manifest.row import Row
from uls_data.manifest.schema import arrow_schema

# Value of a column by the number of its row.
_Column = Callable[[int], Any]
# Lists of which few differ.
_TEXTS = pa.list_(pa.string())
# Texts that repeat less, among the first ones, are held one by one.
_REPEATS, _SOME = 4, 10_000


class _Columns(dict[str, _Column]):
    """Columns that somebody asked for, read when first asked for."""

    def __init__(
        self,
        files: Sequence[Path],
        numbers: NDArray[np.int64],
        instead: Mapping[str, Callable[[Any], Any]],
    ) -> None:
        super().__init__()
        self._files, self._numbers, self._instead = files, numbers, instead
        self._total = sum(count_rows(file) for file in files)

    def __missing__(self, name: str) -> _Column:
        if name not in arrow_schema().names:
            raise KeyError(name)
        few = name in self._instead or arrow_schema().field(name).type == _TEXTS
        column = self._objects(name) if few else _access(self._values(name))
        self[name] = column
        return column

    def _values(self, name: str) -> pa.Array:
        column = read_table(self._files, [name])[name]
        self._check(len(column))
        return column.take(pa.array(self._numbers)).combine_chunks()

    def codes(self, name: str) -> NDArray[np.int64]:
        """`codes_of` a column."""
        return codes_of(self._values(name))

    def _objects(self, name: str) -> _Column:
        """Values of few kinds, each held once."""
        instead = self._instead.get(name, lambda value: value)
        known: dict[str, int] = {}
        objects: list[Any] = []
        codes = array("q")
        for file in self._files:
            for row in iterate_rows(file, [name]):
                value = instead(cast(dict[str, Any], row)[name])
                code = known.setdefault(repr(value), len(objects))
                if code == len(objects):
                    objects.append(value)
                codes.append(code)
        self._check(len(codes))
        taken: NDArray[np.int64] = np.frombuffer(codes, np.int64)[self._numbers]
        return _coded(memoryview(taken.data), objects)

    def _check(self, count: int) -> None:
        if count != self._total:
            raise ManifestError(f"{self._files[0]}: it or one beside it changed while it was read")


class _View(Mapping[str, Any]):
    """One row: looks its values up."""

    __slots__ = ("_at", "_columns")

    def __init__(self, columns: _Columns, at: int) -> None:
        self._columns, self._at = columns, at

    def __getitem__(self, name: str) -> Any:
        return self._columns[name](self._at)

    def __iter__(self) -> Iterator[str]:
        return iter(arrow_schema().names)

    def __len__(self) -> int:
        return len(arrow_schema())


class HeldRows(Sequence[Row]):
    """Rows of manifests, of which a column is read when it is first asked for.

    A row looks its values up, and is a mapping of all columns; it cannot be changed.

    Parameters
    ----------
    files : sequence of Path
        Manifests.
    numbers : ndarray of int
        Rows to hold, as `read_table` numbers them; they may stand in any order.
    instead : mapping of str to callable, optional
        By column: what is held instead of a value, for columns of lists of which few differ then.

    Raises
    ------
    ManifestError
        A manifest cannot be read, also later; or is another one by then.
    """

    def __init__(
        self,
        files: Sequence[Path],
        numbers: NDArray[np.int64],
        instead: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> None:
        self._columns = _Columns(files, numbers, instead or {})
        self._at: NDArray[np.int64] = np.arange(len(numbers))

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> HeldRows: ...
    def __getitem__(self, at: int | slice) -> Row | HeldRows:
        if isinstance(at, slice):
            return self._part(self._at[at])
        return cast(Row, _View(self._columns, int(self._at[at])))

    def __iter__(self) -> Iterator[Row]:
        columns = self._columns
        return (cast(Row, _View(columns, at)) for at in memoryview(self._at.data))

    def _part(self, at: NDArray[np.int64]) -> HeldRows:
        """Rows by where they stand among all, with the columns that are held."""
        found = HeldRows.__new__(HeldRows)
        found._columns, found._at = self._columns, at
        return found

    def where(self, meets: Callable[[Row], object]) -> HeldRows:
        """Those rows of which a function says something true."""
        return self._part(self._at[np.fromiter(map(bool, map(meets, self)), bool, len(self))])

    def one_each(self, *names: str) -> HeldRows:
        """First row of all that have the same numbers or texts in some columns."""
        groups = np.zeros(len(self), np.int64)
        for name in names:
            codes = self._columns.codes(name)[self._at]
            width = 1 + int(codes.max(initial=0))
            _, groups = np.unique(groups * width + codes, return_inverse=True)
        _, first = np.unique(groups, return_index=True)
        return self._part(self._at[np.sort(first)])

    def forget(self, *names: str) -> None:
        """Let columns go; who asks for one again waits until it is read again."""
        for name in names:
            self._columns.pop(name, None)


def codes_of(column: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """One number for each value of a column of numbers or texts, null included."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return np.asarray(encoded.indices.fill_null(len(encoded.dictionary)), np.int64)


def _access(column: pa.Array) -> _Column:
    """Return a function that gives the values of a column, by the number of the row."""
    kind = column.type
    if column.null_count == len(column):
        return lambda _: None
    if pa.types.is_string(kind) or pa.types.is_boolean(kind):
        some = column[:_SOME].dictionary_encode()
        if pa.types.is_string(kind) and len(some.dictionary) * _REPEATS > len(some):
            return _texts(column)
        encoded = column.dictionary_encode()
        texts = [*encoded.dictionary.to_pylist(), None]
        codes = memoryview(encoded.indices.fill_null(len(texts) - 1).to_numpy())
        return _coded(codes, texts)
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return lambda at: column[at].as_py()
    values = memoryview(column.fill_null(0).to_numpy())
    if not column.null_count:
        return values.__getitem__
    valid = column.is_valid().to_numpy(zero_copy_only=False).tobytes()
    return lambda at: values[at] if valid[at] else None


def _coded(codes: memoryview, objects: list[Any]) -> _Column:
    return lambda at: objects[codes[at]]


def _texts(column: pa.StringArray) -> _Column:
    valid = column.is_valid().to_numpy(zero_copy_only=False).tobytes()
    _, ends, letters = column.buffers()
    bounds, text = memoryview(ends).cast("B").cast("i"), memoryview(letters)
    first = column.offset

    def value(at: int) -> str | None:
        if not valid[at]:
            return None
        return str(text[bounds[first + at] : bounds[first + at + 1]], "utf-8")

    return value
