"""`uls-data columns`: every column, one of them whole, and what was meant."""

from __future__ import annotations

import json
from typing import Any

import pytest

from uls_data.manifest.schema import column_names, document


def test_all_columns(uls: Any) -> None:
    shown = uls("columns")
    assert shown.code == 0
    heads = [line.split()[0] for line in shown.out.splitlines() if "(since " in line]
    assert heads == column_names()
    assert "measurement:" in shown.out.splitlines()
    records = [json.loads(line) for line in uls("columns", "--json").out.splitlines()]
    assert [record["name"] for record in records] == column_names()
    assert {record["since"] for record in records} == set(range(1, document()["version"] + 1))


def test_one_column_whole(uls: Any) -> None:
    shown = uls("columns", "status").out
    meaning = next(c["meaning"] for c in document()["columns"] if c["name"] == "status")
    assert meaning in shown and "    skipped: " in shown and "  Of: " in shown
    assert "case_id" not in shown.split("Values:")[1]
    (record,) = (json.loads(line) for line in uls("columns", "status", "--json").out.splitlines())
    assert set(record["values"]) == {"ok", "skipped", "failed"}


def test_a_part_of_names(uls: Any) -> None:
    heads = [
        line.split()[0] for line in uls("columns", "axis").out.splitlines() if "(since" in line
    ]
    assert "long_axis_mm" in heads and all("axis" in head for head in heads)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["columns", "long_axs_mm"], "Did you mean long_axis_mm?"),
        (["query", "uls23", "--columns", "lesion_tpye"], "Did you mean lesion_type?"),
        (["query", "uls23", "long_axs_vox > 3"], "Did you mean long_axis_vox?"),
        (["query", "uls23", "--sort", "long_axs_vox"], "Did you mean long_axis_vox?"),
        (["split", "uls23", "--by", "lesion_tpye", "--lesions", "9"], "Did you mean lesion_type?"),
        (["report", "uls23", "--to", "x", "--columns", "statsu"], "Did you mean status?"),
        (["contact-sheet", "uls23", "--to", "x.png", "--where", 'lesion_type == "livr"'],
         "No lesion_type is 'livr'. Did you mean liver?"),
        (["colums"], "Did you mean columns?"),
        (["release", "biuld"], "Did you mean build?"),
        (["export", "nnUnet"], "Did you mean nnunet?"),
    ],
)  # fmt: skip
def test_what_was_meant(uls: Any, arguments: list[str], words: str) -> None:
    result = uls(*arguments)
    assert result.code == 2 and words in result.err, result.err


def test_a_mistyped_lesion_type_of_a_query(uls: Any) -> None:
    result = uls("query", "uls23", 'lesion_type == "livr"')
    assert result.code == 0 and "No lesion_type is 'livr'. Did you mean liver?" in result.err
