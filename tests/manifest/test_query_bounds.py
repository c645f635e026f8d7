"""Expressions that would take forever, or are none, get one line; CSV comes in pieces."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from uls_data.errors import ManifestError
from uls_data.manifest import query as queries
from uls_data.manifest.parquet import frame_of, write_manifest
from uls_data.manifest.query import query, query_pieces

HOSTILE = [
    "9**9**9**9 > 1",
    "10**10**8 == long_axis_mm",
    "(long_axis_mm**16)**16 > 1",
    "long_axis_mm ** -100 > 1",
    "'1'",
    "1",
    "a" * 5000 + " > 1",
    "(" * 5000 + "1" + ")" * 5000,
    "not " * 3000 + "redistributable",
    " or ".join(["long_axis_mm > 1"] * 3000),
    "'a' * 1000000000 == case_id",
    "[1] * 1000000000 == case_id",
    "1 << 1000000000 > long_axis_mm",
    "[x for x in case_id]",
    "(lambda: 1)() > 1",
    "9" * 100 + " > long_axis_mm",
    "case_id == f'{case_id}'",
    "case_id * 1000000000 == 'a'",
    "(case_id + layer) * 1000000000 == 'a'",
    "qc_flags * 1000000000 == 1",
    "case_id.str[0:3] * 1000000000 == 'a'",
    "case_id.str.contains('(a+)+$', flags=2)",
    "case_id.str.contains('(a+)+(?=x)')",
    r"case_id.str.contains('(a)\\1')",
    "case_id.str.contains('((a{1,900}){1,900}){1,900}')",
    "case_id.str.contains('" + "(" * 400 + "')",
    "case_id.str.contains('" + "a" * 501 + "')",
    "[case_id.str.contains][0]('(a+)+$', flags=2)",
]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("m") / "mine.parquet"
    rows = [
        {
            "source": "mine",
            "case_id": "=cmd|x" if number == 3 else f"c{number:05}",
            "layer": "annotated",
            "lesion_index": 1,
            "sample_index": 0,
            "status": "ok",
            "long_axis_mm": float(number) / 7,
            "qc_flags": ["oblique"] if number % 3 else [],
        }
        for number in range(50)
    ]
    write_manifest(rows, path)
    return path


@pytest.mark.parametrize("expression", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_expressions_get_a_short_answer_at_once(manifest: Path, expression: str) -> None:
    begin = time.monotonic()
    with pytest.raises(ManifestError) as caught:
        query(manifest, expression)
    assert time.monotonic() - begin < 2
    lines = str(caught.value).splitlines()
    assert len(lines) <= 2 and all(len(line) < 400 for line in lines)


def test_honest_powers_and_lists_are_answered(manifest: Path) -> None:
    assert len(query(manifest, "long_axis_mm ** 2 > 4 and case_id in ['c00020', 'c00030']")) == 2
    assert len(query(manifest, "long_axis_mm ** -0.5 < 1 or case_id.str.contains('c0004')")) == 42


def test_pieces_are_the_whole(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "_ROWS_A_PIECE", 7)
    for expression in ("", "long_axis_mm > 3", "long_axis_mm > 1000"):
        pieces = list(query_pieces(manifest, expression))
        assert pieces and all(len(piece) <= 7 for piece in pieces)
        whole = query(manifest, expression).reset_index(drop=True)
        pd.testing.assert_frame_equal(frame_of(pa.concat_tables(pieces)), whole)


def test_csv_has_no_formula_and_a_full_disk_no_traceback(manifest: Path) -> None:
    command = [sys.executable, "-m", "uls_data", "query", str(manifest), "--csv"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    frame = pd.read_csv(io.StringIO(run.stdout))
    assert len(frame) == 50 and frame["case_id"].str.startswith("'=cmd").sum() == 1
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 2 and "Traceback" not in run.stderr
    assert "No space left" in run.stderr


def test_an_expression_longer_than_a_path_is_one(manifest: Path) -> None:
    text = " or ".join(["long_axis_mm > 100"] * 40)
    command = [sys.executable, "-m", "uls_data", "query", str(manifest), text, "--csv"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert len(run.stdout.splitlines()) == 1


def test_patterns_take_time_in_proportion_to_the_text(tmp_path: Path) -> None:
    """Python's own would try them for years: its time doubles with each letter."""
    names = ["a" * 60 + "!", "A" * 3000 + "!", "lung (left)"]
    rows = [
        {"source": "mine", "case_id": name, "layer": "annotated", "lesion_index": 1,
         "sample_index": 0, "status": "ok", "qc_flags": []}
        for name in names
    ]  # fmt: skip
    write_manifest(rows, tmp_path / "m.parquet")
    begin = time.monotonic()
    for pattern, options, met in (
        ("(a+)+$", "", 0),
        ("(a|a)*b|(a*)*c", ", case=False", 0),
        ("^(a+)+!$", "", 1),
        ("^(a+)+!$", ", case=False", 2),
        ("(left)", ", regex=False", 1),
        ("(left)", "", 1),
        ("^lung", ", na=False", 1),
    ):
        found = query(tmp_path / "m.parquet", f"case_id.str.contains({pattern!r}{options})")
        assert len(found) == met, pattern
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("case_id.str.contains('(?=x)')", "regex=False takes it literally"),
        ("case_id.str.contains(layer)", "must be in quotes"),
        ("case_id.str.contains('a', flags=2)", "case, regex, na are known"),
        ("qc_flags.str.contains('cut')", 'for qc_flags use flagged("...")'),
        ("long_axis_mm.str.contains('1')", "columns of text"),
        ("case_id * 3 == 'a'", "text and lists cannot be"),
    ],
)
def test_what_cannot_be_asked_says_how(manifest: Path, expression: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        query(manifest, expression)
    assert words in str(caught.value)


def test_unknown_text_holds_nothing(manifest: Path) -> None:
    """`detail` is null in every row here."""
    assert len(query(manifest, "detail.str.contains('x')")) == 0
    assert len(query(manifest, "not detail.str.contains('x')")) == 50
    assert len(query(manifest, "detail.str.contains('x', na=True)")) == 50
