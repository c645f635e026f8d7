"""Lists of series that nobody should trust."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from makers.idc import made_series

from demo.idc import VERSION, write_pinned
from uls_data.cli import main
from uls_data.errors import RecipeError
from uls_data.fetching import fetch
from uls_data.fetching.series_list import read_series

SERIES = made_series(3)


def message(folder: Path, **changes: Any) -> str:
    recipe = write_pinned(folder / "recipe", SERIES, **changes)
    with pytest.raises(RecipeError) as caught:
        fetch(recipe, folder / "raw", dry_run=True)
    assert not (folder / "raw").exists()
    return str(caught.value)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("patient_id", bad) for bad in ("../P", "a/b", ".P", "", "P Q", "P\n", "P;x", "x" * 65)),
        *(("study_instance_uid", bad) for bad in ("..", "1/2", "", "1" * 65)),
        *(("series_instance_uid", bad) for bad in ("../1", "a", "1 2")),
        *(("modality", bad) for bad in ("ct", "C/T", "")),
        *(("bucket", bad) for bad in ("a/b", "A", "s3://a", "a b", "-ab", "*")),
        *(("files", bad) for bad in (0, -1, 2_000_000)),
        *(("size_bytes", bad) for bad in (0, -5, 1 << 41)),
        ("licence", None),
    ],
)
def test_a_row_that_could_lead_elsewhere(tmp_path: Path, column: str, value: Any) -> None:
    text = message(tmp_path, **{column: value})
    assert "row 1" in text and column in text


def test_rows_of_one_folder(tmp_path: Path) -> None:
    text = message(tmp_path, patient_id="P", series_instance_uid="1.2")
    assert "3 rows have the folder p/1.2/ct_1.2" in text


def test_files_that_are_no_lists(tmp_path: Path) -> None:
    recipe = write_pinned(tmp_path, SERIES)
    path = tmp_path / "series.parquet"
    good = path.read_bytes()
    assert len(read_series(path, VERSION)) == 3
    with pytest.raises(RecipeError, match=r"made from idc-index-data 25\.0\.5, while"):
        read_series(path, "24.0.0")
    for spoiled in (b"", b"PAR1", good[:-20], good[: len(good) // 2] + b"\0" * 40, b"x" * 5000):
        path.write_bytes(spoiled)
        with pytest.raises(RecipeError, match="Parquet"):
            fetch(recipe, tmp_path / "raw", dry_run=True)
    pq.write_table(pa.table({"patient_id": ["P"]}), path)
    with pytest.raises(RecipeError, match="expected the columns patient_id, study_instance_uid"):
        fetch(recipe, tmp_path / "raw", dry_run=True)
    path.unlink()
    with pytest.raises(RecipeError, match=r"series\.parquet: cannot be read: No such file"):
        fetch(recipe, tmp_path / "raw", dry_run=True)


def test_a_recipe_is_checked_with_its_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_pinned(tmp_path, SERIES)
    for left, code in ((True, 0), (False, 2)):
        if not left:
            (tmp_path / "series.parquet").unlink()
        with pytest.raises(SystemExit) as ended:
            main(["recipe", "check", str(recipe)])
        assert (ended.value.code or 0) == code
    assert "series.parquet: cannot be read" in capsys.readouterr().out


def test_damaged_lists_are_errors_or_lists(tmp_path: Path) -> None:
    write_pinned(tmp_path, SERIES)
    path = tmp_path / "series.parquet"
    good = path.read_bytes()
    for at in range(0, len(good), 7):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x55]) + good[at + 1 :])
        try:
            series = read_series(path, VERSION)
        except RecipeError:
            continue
        assert all(".." not in one.path.split("/") for one in series)
