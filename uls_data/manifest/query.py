"""Rows of manifests that meet an expression."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from uls_data.errors import ManifestError, did_you_mean
from uls_data.manifest.answers import Answers
from uls_data.manifest.parquet import (
    count_rows,
    frame_of,
    load_manifest,
    manifest_files,
    read_rows,
    read_table,
)
from uls_data.manifest.schema import arrow_schema, column_names, document
from uls_data.manifest.sorting import order, sorting

if TYPE_CHECKING:
    import pandas as pd

_ROWS_A_PIECE = 1 << 13
_LONGEST, _MOST_NODES, _DEEPEST, _LARGEST_POWER, _SHOWN = 10_000, 2_000, 60, 16, 60
_KNOWN = (
    *(ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword),
    *(ast.Attribute, ast.Name, ast.Constant, ast.List, ast.Tuple, ast.Load, ast.Subscript),
    *(ast.And, ast.Or, ast.Not, ast.Invert, ast.UAdd, ast.USub, ast.Slice),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow),
    *(ast.BitAnd, ast.BitOr, ast.BitXor),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot),
)
_EXAMPLE = 'Example: status == "ok" and long_axis_mm > 30 and flagged("cut_by_voi")'
# What an expression may call on a column; pandas has others that write files.
_METHODS = (
    "isna",
    "notna",
    "isin",
    "between",
    "abs",
    "str",
    "contains",
    "startswith",
    "endswith",
    "len",
)


def query(
    paths: str | Path | Sequence[str | Path],
    expression: str = "",
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Rows that meet a pandas query expression.

    Parameters
    ----------
    expression : str
        Such as `status == "ok" and long_axis_mm > 30`; empty takes every row.
        `flagged("cut_by_voi")` asks for a quality flag.
    columns : sequence of str, optional
        Columns of the answer. What the expression names is read first, and they only where a row
        meets it.

    Returns
    -------
    DataFrame
        Its index says which rows of the manifests they are, from 0.

    Raises
    ------
    ManifestError
        The expression is not one, or names what is not a column.
    """
    tree = _parsed(expression)
    wanted = None if columns is None else list(columns)
    if tree is None:
        return load_manifest(paths, wanted)
    files = manifest_files(paths)
    met = _met(files, tree, expression)
    return frame_of(read_rows(files, list(met), wanted)).set_index(met)


def query_pieces(
    paths: str | Path | Sequence[str | Path],
    expression: str = "",
    columns: Sequence[str] | None = None,
    sort: str | None = None,
) -> Iterator[pa.Table]:
    """Rows that meet an expression, few in memory at a time.

    Parameters
    ----------
    expression, columns
        As for `query`.
    sort : str, optional
        Column; the smallest values come first (`-column`: the largest), null last. By default rows
        come in the order of `query`.

    Yields
    ------
    Table
        At least one, which is empty where no row meets the expression.

    Raises
    ------
    ManifestError
        As `query`.
    """
    tree = _parsed(expression)
    files = manifest_files(paths)
    if tree is None:
        met = np.arange(sum(count_rows(file) for file in files))
    else:
        met = np.asarray(_met(files, tree, expression))
    wanted = None if columns is None else list(columns)
    if sort is not None:
        column, largest_first = sorting(sort)
        values = read_rows(files, met.tolist(), [column])[column]
        met = met[order(values, largest_first)]
    for start in range(0, max(len(met), 1), _ROWS_A_PIECE):
        some = met[start : start + _ROWS_A_PIECE]
        ascending = np.argsort(some)
        table = read_rows(files, some[ascending].tolist(), wanted)
        yield table if sort is None else table.take(np.argsort(ascending))


def _met(files: Sequence[Path], tree: ast.Expression, expression: str) -> pd.Index[int]:
    """Numbers of the rows that meet an expression, from its own columns alone."""
    answers = Answers()
    text = ast.unparse(answers.visit(tree))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    tested = sorted(names & set(column_names()) | {"status"})
    table = read_table(files, sorted({*tested, *(column for column, _ in answers.found.values())}))
    frame = frame_of(table.select(tested))
    for name, (column, answer) in answers.found.items():
        frame[name] = answer(table[column])
    try:
        return frame.query(text, engine="python").index
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0][:_SHOWN]
        raise ManifestError(f"query {_short(expression)}: {said}\n  {_EXAMPLE}") from error


def unknown_words(expression: str) -> list[str]:
    """Hints on words of an expression that a column with a closed list never holds.

    Raises
    ------
    ManifestError
        Not an expression that `query` takes.
    """
    tree = _parsed(expression)
    lists = document()["closed_lists"]
    hints = []
    for node in ast.walk(tree) if tree is not None else ():
        if not isinstance(node, ast.Compare):
            continue
        sides = (node.left, *node.comparators)
        names = [side.id for side in sides if isinstance(side, ast.Name) and side.id in lists]
        words = [x.value for side in sides for x in ast.walk(side) if isinstance(x, ast.Constant)]
        for name, word in ((name, word) for name in names for word in words):
            if isinstance(word, str) and word not in lists[name]:
                hint = did_you_mean(word, lists[name]) or f" It is {', '.join(lists[name])}."
                hints.append(f"No {name} is {word!r}.{hint}")
    return hints


def _parsed(expression: str) -> ast.Expression | None:
    """Syntax tree of an expression, known to hold nothing but a condition on columns."""
    if not expression.strip():
        return None
    if len(expression) > _LONGEST:
        raise ManifestError(f"query: {len(expression):,} characters; at most {_LONGEST:,} are read")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        said = getattr(error, "msg", None) or str(error) or type(error).__name__
        raise ManifestError(
            f"query {_short(expression)}: not an expression ({said[:_SHOWN]}).\n  {_EXAMPLE}"
        ) from error
    _check_bounds(tree, expression)
    functions = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr not in _METHODS:
            raise ManifestError(
                f"query {_short(expression)}: .{node.attr[:_SHOWN]} cannot be used; "
                f"known: {', '.join(_METHODS)}"
            )
        if isinstance(node, ast.Name) and node in functions and node.id != "flagged":
            raise ManifestError(
                f"query {_short(expression)}: {node.id[:_SHOWN]}() is not known; flagged() is"
            )
        if isinstance(node, ast.Name) and node not in functions and node.id not in column_names():
            hint = did_you_mean(node.id, column_names()) or " Text must be in quotes."
            raise ManifestError(
                f"query {_short(expression)}: no column {node.id[:_SHOWN]!r}.{hint}"
            )
    return tree


def _check_bounds(tree: ast.Expression, expression: str) -> None:
    """Refuse what takes long to work out, or is not a condition, before anything is evaluated."""

    def refuse(why: str) -> None:
        raise ManifestError(f"query {_short(expression)}: {why}.\n  {_EXAMPLE}")

    if isinstance(tree.body, ast.Constant):
        refuse("a value is not a condition on a column")
    level: list[ast.AST] = [tree]
    count = depth = 0
    while level:
        count, depth = count + len(level), depth + 1
        if count > _MOST_NODES or depth > _DEEPEST:
            refuse(f"more than {_MOST_NODES:,} parts, or nested more than {_DEEPEST} deep")
        for node in level:
            if not isinstance(node, _KNOWN):
                refuse(f"{type(node).__name__} cannot be used")
            if isinstance(node, ast.BinOp):
                _check_sum(node, refuse)
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, int) and abs(value) >= 1 << 63:
                refuse("a number is too large")
        level = [child for node in level for child in ast.iter_child_nodes(node)]


def _check_sum(node: ast.BinOp, refuse: Callable[[str], None]) -> None:
    """Refuse powers of powers, and text or lists in sums: what they give may have any size."""
    sides = (node.left, node.right)
    if any(isinstance(side, ast.List | ast.Tuple) for side in sides) or any(
        isinstance(side, ast.Constant) and not isinstance(side.value, int | float) for side in sides
    ):
        refuse("text and lists cannot be summed or multiplied")
    if isinstance(node.op, ast.Mult) and any(map(_is_text, sides)):
        refuse("text and lists cannot be summed or multiplied")
    if not isinstance(node.op, ast.Pow):
        return
    exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
    small = isinstance(exponent, ast.Constant) and isinstance(exponent.value, int | float)
    if not small or abs(exponent.value) > _LARGEST_POWER:  # type: ignore[attr-defined]
        refuse(f"an exponent must be a number up to {_LARGEST_POWER}")
    if any(isinstance(part, ast.BinOp) for part in ast.walk(node.left)):
        refuse("a power of a sum or of a power cannot be used")


def _is_text(node: ast.AST) -> bool:
    """Whether a side of a product may be text or a list, which it would repeat."""
    match node:
        case ast.Name(id=name):
            schema = arrow_schema()
            return name in schema.names and not _is_number(schema.field(name).type)
        case ast.BinOp(left=left, right=right):
            return _is_text(left) or _is_text(right)
        case ast.UnaryOp(operand=operand):
            return _is_text(operand)
    return isinstance(node, ast.Subscript | ast.List | ast.Tuple)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind))


def _short(expression: str) -> str:
    text = repr(expression)
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}..."
