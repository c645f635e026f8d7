"""Apply a rule to a manifest: what meets it stays, the rest is skipped with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uls_data.certificates.judged import identity_of
from uls_data.certificates.marking import Marks, mark
from uls_data.errors import ManifestError, SourceError
from uls_data.filtering.rule import (
    COMBINED,
    MAXIMUM_AXIS_ERROR_VOX,
    PAPER,
    Clause,
    clauses_of,
    combined_rule,
    paper_rule,
)
from uls_data.manifest.choice import COLUMNS, Choice
from uls_data.manifest.parquet import iterate_rows, manifest_files, read_table, write_manifest
from uls_data.manifest.paths import with_moved_paths
from uls_data.manifest.query import query
from uls_data.manifest.row import Column, Row
from uls_data.outcome import Reason, Status
from uls_data.tables import Record

# What another rule removed before is judged again: a manifest may be filtered in its place.
_JUDGED = '(status == "ok" or reason == "filtered") and supervision != "full"'

_CERTIFICATE = Clause("certificate", "certified")


@dataclass(frozen=True)
class FilterReport:
    """What a filter did; `rows == kept + removed + full + not_ok`.

    Attributes
    ----------
    rows, kept, removed : int
        Of the manifest; of its pseudo-masks that meet the rule, and that do not.
    full : int
        Rows that the rule does not judge: with a full mask; by a certificate, all but the 3D masks
        of one layer.
    not_ok : int
        Rows that were skipped or failed before, or that corrections take away.
    clauses : list of dict
        `name`, `expression`, `alone`: masks that this clause removes by itself; `only`: that no
        other clause removes; `in_sequence`: that it removes after those above it.
    warnings : list of str
        Why what a certificate promises may not hold of these masks.
    """

    rows: int
    kept: int
    removed: int
    full: int
    not_ok: int
    clauses: list[Record]
    warnings: list[str] = field(default_factory=list)


def filter(
    manifest: str | Path,
    out: str | Path,
    *,
    rule: str | None = None,
    max_axis_error_vox: float | None = None,
    certificate: str | Path | None = None,
    layer: str | None = None,
    beside: Sequence[str | Path] = (),
    workers: int = 0,
) -> FilterReport:
    """Write a manifest in which the pseudo-masks that break a rule are skipped.

    Every row of the manifest is a row of the new one. Rows that break the rule get status
    `skipped`, reason `filtered`, and the broken clauses with their numbers as detail. Rows
    with a full mask are not judged; rows that an earlier filter removed are judged again.

    Parameters
    ----------
    manifest : path
        A manifest, or the OUT folder of a build.
    out : path
        Parquet file to write; it may be the manifest itself. Paths in it stay valid: they are
        relative to its own OUT.
    rule : str, optional
        `paper`, `combined`, or an expression as `uls_data.query` takes it, whose parts joined
        by `and` are its clauses. Default: `combined`; `paper` where only `max_axis_error_vox`
        is given.
    max_axis_error_vox : float, optional
        Bound of the paper's rule in both; default 5.
    certificate : path, optional
        Keep the masks in 3D that meet a certificate of `uls_data.certify`, by no other rule: its
        promise is about all masks that it keeps. Rows get `certified` and `certificate`.
    layer : str, optional
        Of the masks that a certificate judges, where there are several in 3D.
    beside : sequence of path
        Manifests with images and further layers of the VOIs, which a certificate's measures need.
    workers : int
        Local processes that measure masks for a certificate; 0 for this one.

    Raises
    ------
    ManifestError, SourceError
        Not a manifest, a bad rule, or `out` cannot be written.
    """
    clauses = _clauses(rule, max_axis_error_vox, certificate)
    files = manifest_files(manifest)
    left_out = _left_out(files)
    marks = None
    if certificate is not None:
        marks = mark(
            manifest, certificate, layer=layer, beside=beside, filtered=True, workers=workers
        )
        judged, broken = _by_certificate(files, marks)
    else:
        judged = set(_rows_that_meet(files, _JUDGED)) - left_out
        broken = {
            clause.name: judged - set(_rows_that_meet(files, clause.expression))
            for clause in clauses
        }
    out = Path(out)
    rows: list[Row] = []
    full = 0
    for file in files:
        for row in iterate_rows(file):
            number = len(rows)
            failing = [clause for clause in clauses if number in broken[clause.name]]
            if marks is not None:
                row = marks.row(row)
            if row["reason"] == Reason.FILTERED.value and number in judged:
                row |= {"status": Status.OK.value, "reason": None, "detail": None}
            if failing:
                row |= {
                    "status": Status.SKIPPED.value,
                    "reason": Reason.FILTERED.value,
                    "detail": "; ".join(_detail(clause, row, marks) for clause in failing),
                }
            elif row["status"] == Status.OK.value and number not in judged | left_out:
                full += 1
            rows.append(with_moved_paths(row, file, out))
    removed = set().union(*broken.values())
    try:
        write_manifest(rows, out)
    except OSError as error:
        raise SourceError(f"--out {out}: cannot be written: {error.strerror}") from error
    return FilterReport(
        rows=len(rows),
        kept=len(judged - removed),
        removed=len(removed),
        full=full,
        not_ok=len(rows) - len(judged) - full,
        clauses=_counts(clauses, broken),
        warnings=[] if marks is None else marks.warnings,
    )


def _by_certificate(files: Sequence[Path], marks: Marks) -> tuple[set[int], dict[str, set[int]]]:
    """Numbers of the rows that a certificate judges, and of those that do not meet it."""
    names: tuple[Column, ...] = ("source", "case_id", "lesion_index", "sample_index", "layer")
    rows: list[Row] = read_table(files, names).to_pylist()
    known = {n: marks.certified.get(identity_of(row)) for n, row in enumerate(rows)}
    judged = {n for n, certified in known.items() if certified is not None}
    return judged, {_CERTIFICATE.name: {n for n in judged if not known[n]}}


def _clauses(rule: str | None, bound: float | None, certificate: str | Path | None) -> list[Clause]:
    if certificate is not None:
        if rule is not None or bound is not None:
            raise ManifestError(
                "--certificate cannot be combined with another rule: its promise is about exactly "
                "the masks that it keeps"
            )
        return [_CERTIFICATE]
    if bound is not None and not 0 <= bound < float("inf"):
        raise ManifestError(f"--max-axis-error-vox {bound}: expected pixels, 0 or more")
    if rule is None:
        rule = COMBINED if bound is None else PAPER
    limit = MAXIMUM_AXIS_ERROR_VOX if bound is None else bound
    if rule == PAPER:
        return paper_rule(limit)
    if rule == COMBINED:
        return combined_rule(limit)
    if bound is not None:
        raise ManifestError(
            "--max-axis-error-vox belongs to the rules paper and combined; an expression states "
            "its own bound, such as key_slice_long_error_vox.abs() <= 5"
        )
    return clauses_of(rule)


def _left_out(files: Sequence[Path]) -> set[int]:
    """Numbers of the rows that corrections take away or stand in for."""
    rows: list[Row] = read_table(files, COLUMNS).to_pylist()
    choice = Choice(rows)
    return {number for number, row in enumerate(rows) if choice.why_not(row) is not None}


def _rows_that_meet(files: Sequence[Path], expression: str) -> list[int]:
    """Numbers of the rows, in the order of the files."""
    return [int(at) for at in query(files, expression, ["status"]).index]


def _detail(clause: Clause, row: Row, marks: Marks | None) -> str:
    if marks is not None:
        return f"{clause.name}: {marks.why_not(row)}"
    values: Mapping[str, Any] = row
    numbers = [
        f"{name} {_text(values[name])}"
        for name in clause.columns
        if name not in ("status", "qc_flags")
    ]
    found = ", ".join(numbers) or ", ".join(row["qc_flags"] or [])
    return (
        f"{clause.name}: {found}"
        if clause.name != clause.expression
        else f"{clause.name} ({found})"
    )


def _text(value: Any) -> str:
    return "null" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _counts(clauses: Sequence[Clause], broken: dict[str, set[int]]) -> list[Record]:
    found: list[Record] = []
    gone: set[int] = set()
    for clause in clauses:
        mine = broken[clause.name]
        others = set().union(*(other for name, other in broken.items() if name != clause.name))
        found.append(
            {
                "name": clause.name,
                "expression": clause.expression,
                "alone": len(mine),
                "only": len(mine - others),
                "in_sequence": len(mine - gone),
            }
        )
        gone |= mine
    return found
