"""What a column is of, and the type of a row that is generated from the schema."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import typing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.errors import CaseError
from uls_data.manifest.derived import derived_row, with_label
from uls_data.manifest.parquet import read_table
from uls_data.manifest.row import Column, Row
from uls_data.manifest.schema import column_names, columns_of, document
from uls_data.outcome import LEAKS, Flag
from uls_data.voi import VOI_SHAPE

ROOT = Path(__file__).parents[2]
# Lines that mypy must refuse, with the code of its error; no other line may be refused.
SNIPPET = """
from uls_data.manifest.row import Column, Row

def read(row: Row) -> str:
    print(row["recist_lnog_vox"])  # typeddict-item
    print(row["click_w_vox"], row["click_x_vox"])  # typeddict-item
    label: str = row["label_path"]  # assignment
    return label + row["source"]

def make() -> Row:
    names: tuple[Column, ...] = ("source", "spilt")  # assignment
    row: Row = {"source": "a", "lesion_indx": 1}  # typeddict-unknown-key
    row["voi_ids"] = "a"  # typeddict-unknown-key
    row |= {"mask_voxels": 1.5}  # typeddict-item
    print([row[name] for name in names])
    row |= {"mask_voxels": 15, "split": None}
    return {**row, "candidate_scores": [{"candidate": "a", "measure": "b", "value": 1.0}]}
"""


def test_every_column_is_of_one_thing() -> None:
    kinds = [columns_of(what) for what in document()["of"]]
    assert all(kinds)
    assert sorted(name for names in kinds for name in names) == sorted(column_names())
    with pytest.raises(KeyError):
        columns_of("masks")


def test_row_has_the_columns_of_the_schema() -> None:
    assert list(Row.__annotations__) == column_names()
    assert list(typing.get_args(Column)) == column_names()


def test_never_null_is_true_of_what_ships() -> None:
    names = document()["never_null"]
    table = read_table("uls23", names)
    assert [table[name].null_count for name in names] == [0] * len(names)


@given(st.sets(st.sampled_from(column_names())), st.booleans())
def test_a_derived_row_inherits_nothing_of_the_mask(names: set[str], keep_image: bool) -> None:
    parent = dict.fromkeys(names, "parent") | {"qc_flags": None}
    row = derived_row(typing.cast(Row, parent), "new", keep_image=keep_image)
    assert not row.keys() & columns_of("mask")
    assert row.get("reason") is row.get("detail") is None
    assert (row["layer"], row["status"], row["qc_flags"]) == ("new", "ok", [])
    kept = names - columns_of("mask") - columns_of("row") - {"image_path"}
    assert {name for name, value in row.items() if value == "parent"} - {"image_path"} == kept


def test_a_derived_row_keeps_what_is_true_of_every_mask_of_the_lesion() -> None:
    """A leak above all: a predicted or corrected mask of the lesion must not train either."""
    of_lesion = {*LEAKS, Flag.NO_AIR, Flag.HU_OFFSET_SUSPECTED, Flag.AXES_DO_NOT_CROSS}
    of_mask = {Flag.SINGLE_SLICE, Flag.CUT_BY_VOI, Flag.OVERLAPS_LESION, Flag.CONTOUR_CUT}
    parent = {"qc_flags": sorted(of_lesion | of_mask)}
    row = derived_row(typing.cast(Row, parent), "pseudo3d-r1", keep_image=True)
    assert row["qc_flags"] == sorted(of_lesion)


@pytest.mark.parametrize(
    ("supervision", "edge"), [("pseudo_3d", True), ("weak_2d", False), ("full", True)]
)
def test_a_new_mask_at_the_end_of_the_scan_says_so(
    tmp_path: Path, supervision: str, edge: bool
) -> None:
    """As a build says it; the VOI is padded above slice 64."""
    row: dict[str, typing.Any] = dict.fromkeys(column_names())
    row |= {"source": "s", "layer": "new", "voi_id": "a", "affine": np.eye(4).ravel().tolist()}
    row |= {"supervision": supervision, "qc_flags": [], "pad_after_z_vox": 63}
    mask = np.zeros(VOI_SHAPE, np.uint8)
    mask[126:131, 126:131, 62:64] = 1
    lower = with_label(typing.cast(Row, row), mask, tmp_path)
    mask[128, 128, 64] = 1
    upper = with_label(typing.cast(Row, row), mask, tmp_path)
    flags = [set(one["qc_flags"] or ()) for one in (lower, upper)]
    assert [Flag.AT_SCAN_EDGE in some for some in flags] == [False, edge]


def test_a_name_that_leads_out_of_the_folder_names_no_label(tmp_path: Path) -> None:
    row: dict[str, typing.Any] = dict.fromkeys(column_names())
    row |= {"source": "s", "layer": "new", "voi_id": "a", "affine": np.eye(4).ravel().tolist()}
    mask = np.zeros(VOI_SHAPE, np.uint8)
    for name in ("source", "layer", "voi_id"):
        with pytest.raises(CaseError, match=r"'\.\./\.\./b' cannot be the name of a file"):
            with_label(typing.cast(Row, {**row, name: "../../b"}), mask, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_new_column_of_the_mask_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    """No list by hand decides: a column that the schema gets tomorrow is lost as well."""
    new = {"name": "sharpness", "of": "mask"}
    later = {**document(), "columns": [*document()["columns"], new]}
    monkeypatch.setattr("uls_data.manifest.schema.document", lambda: later)
    columns_of.cache_clear()
    try:
        parent = {"sharpness": 1.0, "voi_id": "a", "qc_flags": []}
        row = derived_row(typing.cast(Row, parent), "new", keep_image=True)
    finally:
        columns_of.cache_clear()
    assert "sharpness" not in row and row["voi_id"] == "a"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is in the dev extra")
def test_a_misspelt_column_fails_mypy(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET, encoding="utf-8")
    # Nothing but these two files is read: the whole package takes half a minute.
    options = ["--follow-imports=skip", f"--cache-dir={tmp_path}", "--no-error-summary"]
    files = [str(snippet), "uls_data/manifest/row.py"]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *files], cwd=ROOT, capture_output=True, text=True
    )
    found = {}
    for line in ran.stdout.splitlines():
        place, level, words = line.split(": ", 2)
        if level == "error":
            found[int(place.rsplit(":", 1)[1])] = words.rsplit("[", 1)[1].rstrip("]")
    expected = {
        number: line.split("# ")[1]
        for number, line in enumerate(SNIPPET.splitlines(), 1)
        if "# " in line
    }
    assert found == expected, ran.stdout + ran.stderr
