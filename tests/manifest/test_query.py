"""Expressions over manifests."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from uls_data.cli import cli
from uls_data.errors import ManifestError
from uls_data.manifest import write_manifest
from uls_data.manifest.parquet import load_manifest
from uls_data.manifest.query import query, query_pieces
from uls_data.manifest.sorting import order


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    def row(case: str, **changes: Any) -> dict[str, Any]:
        key = {"source": "s", "case_id": case, "lesion_index": 1, "sample_index": 0, "layer": "x"}
        return {**key, "status": "ok", "qc_flags": [], **changes}

    rows = [
        row("a", long_axis_mm=12.5, mask_voxels=10, qc_flags=["cut_by_voi", "oblique"]),
        row("b", long_axis_mm=31.0, redistributable=True, split="train"),
        row("c", status="failed", reason="not_3d", qc_flags=["oblique"]),
        row("d", long_axis_mm=40.0, mask_voxels=20, redistributable=False, split="heldout"),
    ]
    write_manifest(rows, tmp_path / "m.parquet")
    return tmp_path / "m.parquet"


@pytest.mark.parametrize(
    ("expression", "cases"),
    [
        ("", "abcd"),
        ("  ", "abcd"),
        ('status == "ok"', "abd"),
        ('status == "ok" and long_axis_mm > 30', "bd"),
        ("long_axis_mm < 1e9", "abd"),  # null is not a number
        ('status != "ok" or mask_voxels >= 20', "cd"),
        ('case_id in ["a", "c", "x"]', "ac"),
        ('reason == "not_3d"', "c"),
        ("10 <= mask_voxels < 20", "a"),
        ('flagged("oblique")', "ac"),
        ("flagged('oblique') and not flagged(\"cut_by_voi\")", "c"),
        ('not flagged("oblique") and split == "heldout"', "d"),
        ("redistributable == True", "b"),
        ('flagged( "oblique" )', "ac"),
        ('status == "nobody says this"', ""),
    ],
)
def test_expressions(manifest: Path, expression: str, cases: str) -> None:
    assert list(query(manifest, expression)["case_id"]) == list(cases)


def test_columns(manifest: Path) -> None:
    frame = query(manifest, 'status == "ok" and flagged("oblique")', ["mask_voxels", "case_id"])
    assert list(frame.columns) == ["mask_voxels", "case_id"]
    assert frame.to_dict("records") == [{"mask_voxels": 10, "case_id": "a"}]
    whole = query(manifest, 'flagged("oblique")')
    assert not [name for name in whole.columns if name.startswith("_")]
    with pytest.raises(ManifestError, match="colour"):
        query(manifest, 'status == "ok"', ["colour"])


@pytest.mark.parametrize(
    ("expression", "word"),
    [
        ("status = 'ok'", "not an expression"),
        ("status ==", "not an expression"),
        ("long_axis > 3", "long_axis"),
        ('flagged("cut")', "cut"),
        ("flagged(oblique)", "oblique"),
        ("flagged()", "flagged"),
        ('flagged("oblique", "cut_by_voi")', "flagged"),
        ("len(status)", "len"),
        ("status > 3", "status > 3"),
        ("long_axis_mm + 1", "long_axis_mm"),
        ("mask_voxels", "mask_voxels"),
        ("status.__class__", "_"),
        ("status.str._data", "_"),
        ("__import__('os').system('true')", "__import__"),
        ("@load_manifest", "expression"),
        ("lesion_type; status", "expression"),
        ("status\x00", "status"),
        ("(" * 500, "expression"),
    ],
)
def test_what_is_refused(manifest: Path, expression: str, word: str) -> None:
    with pytest.raises(ManifestError) as caught:
        query(manifest, expression)
    assert "query" in str(caught.value) and word in str(caught.value)


def test_an_expression_runs_no_code(manifest: Path, tmp_path: Path) -> None:
    target = tmp_path / "written"
    for expression in (
        f"status.to_csv('{target}')",
        f"long_axis_mm.to_pickle('{target}')",
        f"long_axis_mm.to_json('{target}') == 1",
        f"status.map(open('{target}', 'w').write)",
        f"long_axis_mm.values.tofile('{target}')",
        f"[x for x in status.to_csv('{target}')]",
    ):
        with pytest.raises(ManifestError):
            query(manifest, expression)
        assert not target.exists(), expression


def test_text_like_a_flag_stays_text(manifest: Path) -> None:
    assert list(query(manifest, "case_id == 'flagged' or flagged('oblique')")["case_id"]) == [
        "a",
        "c",
    ]


@pytest.fixture
def several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two manifests, of three row groups and of one."""
    monkeypatch.setattr("uls_data.manifest.parquet._ROWS_PER_GROUP", 4)
    for source, count in (("a", 11), ("b", 3)):
        rows = [
            {
                "source": source,
                "case_id": f"{n:02}",
                "lesion_index": n,
                "sample_index": 0,
                "layer": "x",
                "status": "ok",
                "detail": f"{source} {n}" * 9,
                "mask_voxels": n,
                "affine": [float(n)] * 16,
            }
            for n in range(count)
        ]
        write_manifest(rows, tmp_path / f"{source}.parquet")
    return tmp_path


@pytest.mark.parametrize(
    "expression",
    ["mask_voxels >= 2", "mask_voxels % 4 == 1", 'source == "b"', "mask_voxels == 10"],
)
def test_rows_and_their_numbers(several: Path, expression: str) -> None:
    everything = load_manifest(several)
    found = query(several, expression)
    expected = everything.query(expression, engine="python")
    assert list(found.index) == list(expected.index)
    assert found.drop(columns="affine").equals(expected.drop(columns="affine"))
    assert [list(row) for row in found["affine"]] == [list(row) for row in expected["affine"]]
    few = query(several, expression, ["detail", "source"])
    assert few.equals(expected[["detail", "source"]])


def test_only_row_groups_with_an_answer_are_read(several: Path) -> None:
    """Damage in another row group goes unnoticed; in its own it does not."""
    path = several / "a.parquet"
    data = bytearray(path.read_bytes())
    column = pq.read_schema(path).names.index("detail")
    chunk = pq.read_metadata(path).row_group(1).column(column)
    data[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 255
    path.write_bytes(bytes(data))
    assert list(query(several, "mask_voxels == 1")["detail"]) == ["a 1" * 9, "b 1" * 9]
    with pytest.raises(ManifestError, match=r"a\.parquet"):
        query(several, "mask_voxels == 5")
    assert len(query(several, "mask_voxels == 5", ["affine"])) == 1


def test_lists_in_csv_are_json(several: Path) -> None:
    arguments = ["query", str(several), "mask_voxels == 1", "--columns", "case_id,affine", "--csv"]
    printed = CliRunner().invoke(cli, arguments, standalone_mode=False).stdout
    (one, other) = csv.DictReader(printed.splitlines())
    assert one == other and json.loads(one["affine"]) == [1.0] * 16
    assert one["case_id"] == "01"


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("mask_voxels", [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3)]),
        ("-mask_voxels", [("a", 10), ("a", 9), ("a", 8), ("a", 7), ("a", 6)]),
        ("-source", [("b", 1), ("b", 2), ("a", 1), ("a", 2), ("a", 3)]),
    ],
)
def test_rows_in_an_order(
    several: Path, monkeypatch: pytest.MonkeyPatch, sort: str, expected: list[tuple[str, int]]
) -> None:
    """The largest come first with a minus, ties as they stand; rows may come in several pieces."""
    monkeypatch.setattr("uls_data.manifest.query._ROWS_A_PIECE", 2)
    pieces = query_pieces(several, "mask_voxels > 0", ["mask_voxels", "source"], sort)
    rows = [(row["source"], row["mask_voxels"]) for piece in pieces for row in piece.to_pylist()]
    assert rows[:5] == expected and len(rows) == 12


def test_null_is_last_in_every_order(several: Path) -> None:
    column = pa.array([None, 2.0, None, 3.0, 2.0])
    assert order(column) == [1, 4, 3, 0, 2]
    assert order(column, largest_first=True) == [3, 1, 4, 0, 2]
    for wrong in ("affine", "-affine", "nothing", "--mask_voxels"):
        with pytest.raises(ManifestError, match="no column to sort by"):
            list(query_pieces(several, sort=wrong))


def test_a_sorted_table_of_the_command(several: Path) -> None:
    arguments = ["query", str(several), "mask_voxels > 7", "--columns", "mask_voxels"]
    for how in ([], ["--csv"]):
        result = CliRunner().invoke(cli, [*arguments, "--sort", "-mask_voxels", *how])
        assert result.exit_code == 0, result.output
        assert [int(n) for n in result.stdout.split()[1:]] == [10, 9, 8]
