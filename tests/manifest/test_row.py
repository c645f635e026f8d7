"""What a column is of, and the type of a row that is generated from the schema."""

from __future__ import annotations

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uls_data.manifest.derived import derived_row
from uls_data.manifest.row import Column, Row
from uls_data.manifest.schema import column_names, columns_of, document


def test_every_column_is_of_one_thing() -> None:
    kinds = [columns_of(what) for what in document()["of"]]
    assert all(kinds)
    assert sorted(name for names in kinds for name in names) == sorted(column_names())
    with pytest.raises(KeyError):
        columns_of("masks")


def test_row_has_the_columns_of_the_schema() -> None:
    assert list(Row.__annotations__) == column_names()
    assert list(typing.get_args(Column)) == column_names()


@given(st.sets(st.sampled_from(column_names())), st.booleans())
def test_a_derived_row_inherits_nothing_of_the_mask(names: set[str], keep_image: bool) -> None:
    parent = dict.fromkeys(names, "parent") | {"qc_flags": None}
    row = derived_row(typing.cast(Row, parent), "new", keep_image=keep_image)
    assert not row.keys() & columns_of("mask")
    assert row.get("reason") is row.get("detail") is None
    assert (row["layer"], row["status"], row["qc_flags"]) == ("new", "ok", [])
    kept = names - columns_of("mask") - columns_of("row") - {"image_path"}
    assert {name for name, value in row.items() if value == "parent"} - {"image_path"} == kept


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
