"""Parts of a query that Arrow answers before pandas sees it: quality flags, and text by a pattern.

Patterns come from anybody, and Python's would try some of them forever. Arrow's (RE2) take time
in proportion to the text; what would need more than that, such as `(?=...)`, is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from uls_data.errors import ManifestError
from uls_data.manifest.schema import arrow_schema, document

_LONGEST_PATTERN, _SHOWN = 500, 60
_OPTIONS = {"case": True, "regex": True, "na": False}
Answer = Callable[[pa.ChunkedArray], NDArray[np.bool_]]


@dataclass
class Answers(ast.NodeTransformer):
    """Replaces `flagged("x")` and `column.str.contains("x")` by columns of their own.

    Attributes
    ----------
    found : dict of str to (str, callable)
        By the name of such a column: the column of the manifest that it is worked out from,
        and how.
    """

    found: dict[str, tuple[str, Answer]] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace one call, if it is one of these."""
        match node:
            case ast.Call(func=ast.Name()):
                return self._flagged(node)
            case ast.Call(func=ast.Attribute(attr="contains", value=ast.Attribute() as text)):
                return self._contains(node, text.value)
        return self.generic_visit(node)

    def _flagged(self, node: ast.Call) -> ast.AST:
        match node.args:
            case [ast.Constant(value=str(flag))] if not node.keywords:
                if flag not in document()["closed_lists"]["qc_flags"]:
                    raise ManifestError(f"query: flagged({flag!r}): no such flag")
                return self._column(f"flagged {flag}", "qc_flags", partial(_holds, flag=flag))
        raise ManifestError('query: write flagged("name of a flag")')

    def _contains(self, node: ast.Call, column: ast.expr) -> ast.AST:
        options = dict(_OPTIONS)
        for one in node.keywords:
            if one.arg not in options or not isinstance(one.value, ast.Constant):
                raise _wrong(f"of its options, {', '.join(_OPTIONS)} are known, with True or False")
            options[one.arg] = bool(one.value.value)
        match node.args:
            case [ast.Constant(value=str(pattern))]:
                pass
            case _:
                raise _wrong("what to look for must be in quotes")
        if not isinstance(column, ast.Name) or arrow_schema().field(column.id).type != pa.string():
            raise _wrong('it is for columns of text; for qc_flags use flagged("...")')
        if len(pattern) > _LONGEST_PATTERN:
            raise _wrong(f"a pattern may have {_LONGEST_PATTERN} characters")
        answer = partial(
            _matches,
            pattern=pattern,
            regex=options["regex"],
            ignore_case=not options["case"],
            unknown=options["na"],
        )
        key = f"{column.id} contains {pattern!r} {sorted(options.items())}"
        return self._column(key, column.id, answer)

    def _column(self, key: str, column: str, answer: Answer) -> ast.Name:
        name = self._names.setdefault(key, f"_answer_{len(self._names)}")
        self.found[name] = column, answer
        return ast.Name(name, ast.Load())


def _wrong(why: str) -> ManifestError:
    return ManifestError(
        f'query: .str.contains: {why}.\n  Example: case_id.str.contains("liver", case=False)'
    )


def _holds(flags: pa.ChunkedArray, flag: str) -> NDArray[np.bool_]:
    """Whether each list holds a flag; null holds none."""
    lists = flags.combine_chunks()
    found = np.zeros(len(lists), dtype=bool)
    parents = pc.list_parent_indices(lists)
    found[parents.filter(pc.equal(pc.list_flatten(lists), flag)).to_numpy()] = True
    return found


def _matches(
    texts: pa.ChunkedArray, pattern: str, *, regex: bool, ignore_case: bool, unknown: bool
) -> NDArray[np.bool_]:
    """Whether each text holds a match; `unknown` where there is no text."""
    look = pc.match_substring_regex if regex else pc.match_substring
    try:
        found = look(texts, pattern, ignore_case=ignore_case)
    except pa.ArrowInvalid as error:
        said = str(error).removeprefix("Invalid regular expression: ")[:_SHOWN]
        raise _wrong(f"not a usable pattern ({said}); regex=False takes it literally") from error
    answers: NDArray[np.bool_] = found.fill_null(unknown).to_numpy().astype(bool)
    return answers
