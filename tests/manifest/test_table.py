"""Manifests on disk: the schema, rows to Parquet and back, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import uls_data
from uls_data.errors import ManifestError
from uls_data.manifest import load_manifest, read_table, write_manifest
from uls_data.manifest.example import read_examples
from uls_data.manifest.parquet import iterate_rows, read_rows
from uls_data.manifest.schema import VERSION_KEY, arrow_schema, column_names, document, markdown
from uls_data.outcome import AnnotationScope, Flag, LesionType, Reason, Status, Supervision

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_FLOAT32 = st.floats(width=32, allow_nan=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": _TEXT,
    "bool": st.booleans(),
    "int32": st.integers(-(1 << 31), (1 << 31) - 1),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "float64": st.floats(allow_nan=False),
    "list<string>": st.lists(_TEXT, max_size=3),
    "list<float32>": st.lists(_FLOAT32, max_size=8),
    "list<float64>[16]": st.lists(st.floats(allow_nan=False), min_size=16, max_size=16),
    "list<struct<candidate: string, measure: string, value: float64>>": st.lists(
        st.fixed_dictionaries(
            {"candidate": _TEXT, "measure": _TEXT, "value": st.floats(allow_nan=False)}
        ),
        max_size=2,
    ),
}
ROW = st.fixed_dictionaries(
    {column["name"]: st.none() | VALUES[column["type"]] for column in document()["columns"]}
)


def row(case: str = "a", **changes: Any) -> dict[str, Any]:
    base = {"source": "s", "case_id": case, "lesion_index": 1, "sample_index": 0}
    return {**base, "layer": "annotated", "status": "ok", "qc_flags": [], **changes}


def written(folder: Path, *rows: dict[str, Any], name: str = "s.parquet") -> Path:
    path = folder / name
    write_manifest(rows, path)
    return path


def with_version(path: Path, version: bytes | None) -> Path:
    table = pq.read_table(path)
    metadata = None if version is None else {VERSION_KEY: version}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


@given(ROW, st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(1, 99))
def test_rows_come_back(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, Any], case: str, lesion: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.parquet"
    one = {**first, "source": "s", "case_id": case, "lesion_index": lesion}
    two = {"source": "t", "case_id": case, "lesion_index": None, "sample_index": None, "layer": ""}
    assert write_manifest([two, one], path) == 2
    back = read_table(path).to_pylist()
    assert back[0] == one
    assert back[1] == {**dict.fromkeys(column_names()), **two}


def test_the_file_is_a_function_of_its_rows(tmp_path: Path) -> None:
    rows = [row("b"), row("a", lesion_index=2), row("a", sample_index=1), row("a")]
    one = written(tmp_path, *rows, name="one.parquet")
    two = written(tmp_path, *reversed(rows), name="two.parquet")
    assert one.read_bytes() == two.read_bytes()
    keys = [
        (r["case_id"], r["lesion_index"], r["sample_index"]) for r in read_table(one).to_pylist()
    ]
    assert keys == [("a", 1, 0), ("a", 1, 1), ("a", 2, 0), ("b", 1, 0)]


def test_case_rows_come_before_their_lesions(tmp_path: Path) -> None:
    path = written(tmp_path, row(), row(lesion_index=None, sample_index=None))
    assert [r["lesion_index"] for r in read_table(path).to_pylist()] == [None, 1]


def test_empty_manifest(tmp_path: Path) -> None:
    frame = load_manifest(written(tmp_path))
    assert len(frame) == 0 and list(frame.columns) == column_names()


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="two rows have the key"):
        written(tmp_path, row(), row(status="failed"))
    written(tmp_path, row(), row(layer="ellipse"))  # another layer is another key
    path = tmp_path / "bad.parquet"
    wrong = [{"colour": "red"}, {"mask_voxels": "many"}, {"mask_voxels": 1 << 31}]
    wrong += [{"affine": [1.0] * 15}, {"qc_flags": "cut_by_voi"}, {"split": 3}]
    for change in wrong:
        with pytest.raises(ManifestError, match=r"bad\.parquet"):
            written(tmp_path, row(**change), name="bad.parquet")
            pytest.fail(f"accepted {change}")
        assert not path.exists()
        assert not list(tmp_path.glob(".tmp-*"))


def test_schema_version(tmp_path: Path) -> None:
    path = written(tmp_path, row())
    assert pq.read_schema(path).metadata[VERSION_KEY] == str(document()["version"]).encode()
    newer = str(document()["version"] + 1).encode()
    with pytest.raises(ManifestError, match="newer uls-data"):
        load_manifest(with_version(path, newer))
    with pytest.raises(ManifestError, match=r"not a manifest.*docs/queries\.md"):
        load_manifest(with_version(path, None))
    with pytest.raises(ManifestError):
        load_manifest(with_version(path, b"one"))


@pytest.mark.parametrize(
    "change",
    [
        {"key_slice_voi": 128},
        {"long_axis_slice_voi": -1},
        {"recist_points_vox": [1.0] * 7},
        {"long_axis_points_vox": [1.0, 2.0, math.nan, 3.0]},
    ],
)
def test_slices_and_points_that_no_voi_has_are_refused(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    path = written(tmp_path, row(), row("b", **change))
    with pytest.raises(ManifestError, match=rf"s\.parquet: column {next(iter(change))}: expected"):
        list(read_examples(path))
    (whole,) = read_examples(written(tmp_path, row(key_slice_voi=127, recist_points_vox=[])))
    assert whole.row["key_slice_voi"] == 127


def test_an_older_file_without_a_column_is_reported_or_read(tmp_path: Path) -> None:
    path = written(tmp_path, row())
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["fold"]), path)
    try:
        frame = load_manifest(path)
    except ManifestError as error:
        assert "fold" in str(error)
    else:
        assert list(frame.columns) == column_names() and frame["fold"].isna().all()


def test_a_column_younger_than_a_manifest_is_null(tmp_path: Path) -> None:
    path = written(tmp_path, row(certified=True))
    pq.write_table(pq.read_table(path).drop_columns(["certified"]), path)
    with pytest.raises(ManifestError, match="certified"):
        load_manifest(path)
    with_version(path, b"1")
    assert [one["certified"] for one in iterate_rows(path)] == [None]
    assert read_rows(path, [0], ["certified", "source"]).to_pylist()[0]["certified"] is None
    frame = load_manifest(path)
    assert list(frame.columns) == column_names() and frame["certified"].isna().all()
    pq.write_table(pq.read_table(path).drop_columns(["fold"]), path)
    with pytest.raises(ManifestError, match="fold"):
        load_manifest(path)


def test_what_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no Parquet")
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "text.parquet", tmp_path / "absent", tmp_path / "empty"):
        with pytest.raises(ManifestError, match=path.name):
            load_manifest(path)
    written(tmp_path, row())
    broken = tmp_path / "s.parquet"
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(ManifestError, match=r"s\.parquet"):
        load_manifest(broken)


def test_files_lists_folders_and_builds(tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = written(out / "manifest", row("a"), name="one.parquet")
    two = written(out / "manifest", row("b"), name="two.parquet")
    for paths in (out, str(out), out / "manifest", [one, two], [str(one), two]):
        assert list(load_manifest(paths)["case_id"]) == ["a", "b"]
    assert list(load_manifest(one)["case_id"]) == ["a"]
    assert uls_data.load_manifest is load_manifest


def test_columns_and_filters(tmp_path: Path) -> None:
    path = written(tmp_path, row("a", mask_voxels=3), row("b", status="failed"), row("c"))
    frame = load_manifest(path, ["mask_voxels", "case_id"], [("status", "=", "ok")])
    assert list(frame.columns) == ["mask_voxels", "case_id"]
    assert list(frame["case_id"]) == ["a", "c"]
    with pytest.raises(ManifestError, match="colour"):
        load_manifest(path, ["colour"])
    for wrong in ([("colour", "=", "red")], [("mask_voxels", "=", "x")], [("status", "~", "ok")]):
        with pytest.raises(ManifestError):
            load_manifest(path, None, wrong)


def test_nulls_keep_integers_integers(tmp_path: Path) -> None:
    frame = load_manifest(
        written(tmp_path, row("a", mask_voxels=3), row("b"), row("c", seed=1 << 60))
    )
    assert frame["mask_voxels"].dtype == "Int32"
    assert frame["mask_voxels"][0] == 3 and frame["mask_voxels"][1] is pd.NA
    assert frame["seed"][2] == 1 << 60
    assert frame["redistributable"].dtype == "boolean"
    assert math.isnan(frame["long_axis_mm"][0])


def test_closed_lists_are_the_programs_own() -> None:
    lists = document()["closed_lists"]
    for name, enum in {
        "status": Status,
        "reason": Reason,
        "qc_flags": Flag,
        "supervision": Supervision,
        "lesion_type": LesionType,
        "annotation_scope": AnnotationScope,
    }.items():
        assert list(lists[name]) == [member.value for member in enum], name
        assert all(lists[name].values()) if isinstance(lists[name], dict) else True


def test_schema_follows_the_contract() -> None:
    schema = arrow_schema()
    assert document()["key"] == ["source", "case_id", "lesion_index", "sample_index", "layer"]
    assert len(set(schema.names)) == len(schema.names)
    assert schema.field("lesion_index").type == pa.int32()
    assert schema.field("affine").type == pa.list_(pa.float64(), 16)
    assert all(column["meaning"] for column in document()["columns"])
    assert all(f"`{name}`" in markdown() for name in schema.names)
