"""Python values to Arrow arrays; `pa.array` would load pandas, which takes longer than a scan."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from numbers import Integral, Real
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_NUMPY = {pa.int32(): "<i4", pa.int64(): "<i8", pa.float32(): "<f4", pa.float64(): "<f8"}
_MOST_BYTES = (1 << 31) - 1


def arrow_scalar(value: Any, kind: pa.DataType) -> pa.Scalar:
    """One value, as `arrow_array` takes it: `pa.scalar` would load pandas too."""
    return arrow_array([value], kind)[0]


def numpy_values(array: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Booleans or numbers of an Arrow array, 0 where it is null; `to_numpy` would load pandas."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if array.null_count:
        empty = arrow_scalar(False if array.type == pa.bool_() else 0, array.type)
        array = array.fill_null(empty)
    here = slice(array.offset, array.offset + len(array))
    buffer = array.buffers()[1] or b""
    if array.type == pa.bool_():
        bits = np.frombuffer(buffer, np.uint8)
        return np.unpackbits(bits, count=here.stop, bitorder="little")[here].view(bool)
    return np.frombuffer(buffer, array.type.to_pandas_dtype())[here]


def arrow_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Values as an Arrow array, of a type that manifests have.

    Parameters
    ----------
    values : sequence
        None is null. Structs are dicts, in which a field that is lacking is null.

    Raises
    ------
    TypeError
        A value has another type.
    ValueError, OverflowError
        A value does not fit the type, or all of them together an array.
    """
    there = {type(value) for value in values}
    if there <= {type(None)}:
        return pa.nulls(len(values), kind)
    valid = None
    if type(None) in there:
        valid = _bits([value is not None for value in values])
        there.remove(type(None))
    if kind in _NUMPY:
        _check(there, kind, Integral if pa.types.is_integer(kind) else Real)
        filled = [0 if value is None else value for value in values]
        return _array(kind, values, valid, np.array(filled, _NUMPY[kind]))
    if kind == pa.bool_():
        _check(there, kind, bool, np.bool_)
        return _array(kind, values, valid, _bits(values))
    if kind == pa.string():
        _check(there, kind, str)
        encoded = [b"" if value is None else value.encode() for value in values]
        return _array(kind, values, valid, _offsets(encoded), b"".join(encoded))
    if pa.types.is_struct(kind):
        _check(there, kind, dict)
        children = [
            arrow_array([None if v is None else v.get(field.name) for v in values], field.type)
            for field in kind.fields
        ]
        return _array(kind, values, valid, children=children)
    _check(there, kind, list)
    if pa.types.is_fixed_size_list(kind):
        lists = [[None] * kind.list_size if value is None else value for value in values]
        if wrong := {len(value) for value in lists} - {kind.list_size}:
            raise ValueError(f"expected {kind}, found a list of {min(wrong)}")
        offsets = []
    else:
        lists = [[] if value is None else value for value in values]
        offsets = [_offsets(lists)]
    inside = arrow_array([one for value in lists for one in value], kind.value_type)
    return _array(kind, values, valid, *offsets, children=[inside])


def _array(
    kind: pa.DataType,
    values: Sequence[Any],
    *buffers: Any,
    children: Sequence[pa.Array] | None = None,
) -> pa.Array:
    held = [None if buffer is None else pa.py_buffer(buffer) for buffer in buffers]
    return pa.Array.from_buffers(kind, len(values), held, children=children)


def _check(there: set[type], kind: pa.DataType, *expected: type) -> None:
    for found in there:
        if not issubclass(found, expected) or (found is bool and bool not in expected):
            raise TypeError(f"expected {kind}, found {found.__name__}")


def _bits(values: Sequence[Any]) -> Any:
    return np.packbits(np.array(values, bool), bitorder="little")


def _offsets(values: Sequence[Any]) -> Any:
    ends = list(accumulate(map(len, values), initial=0))
    if ends[-1] > _MOST_BYTES:
        raise OverflowError(f"{ends[-1]} bytes or values in one column, at most {_MOST_BYTES}")
    return np.array(ends, "<i4")
