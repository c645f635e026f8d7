"""Lists of series: what the IDC's index says about a recipe's annotations and their images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from makers.idc import UUID, row, write_index

from demo.idc import PINNED
from tools import pins
from uls_data.fetching.series_list import read_series
from uls_data.recipe import load_recipe, recipe_template

READING = {"analysis_result_id": "lesions_readings", "Modality": "SEG"}
ROWS = [
    row(1),
    row(2, **READING, SeriesDescription="liver", series_size_MB=0.004567, instanceCount=1),
    # No annotation lies in this study, and this one is of other people.
    row(3, StudyInstanceUID="1.2.2", PatientID="P-2"),
    row(4, **{**READING, "analysis_result_id": "others"}, StudyInstanceUID="1.2.3"),
    row(5, StudyInstanceUID="1.2.3", PatientID="P-3"),
    row(6, collection_id="other_collection"),
    row(7, Modality="MR"),
    # A CT that the named analysis made, as LIDC-annot-NLST501 has.
    row(8, Modality="CT", analysis_result_id="lesions_readings"),
    row(9, license_short_name="CC BY-NC 4.0", PatientID="P-0", StudyInstanceUID="1.2.4"),
    row(10, **READING, SeriesDescription="seed", PatientID="P-0", StudyInstanceUID="1.2.4"),
]


def recipe(folder: Path, **changes: Any) -> Path:
    folder.mkdir(exist_ok=True)
    content = yaml.safe_load(recipe_template("lesions"))
    fetch = {"idc": {**PINNED, **changes}}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({**content, "fetch": fetch}), encoding="utf-8")
    load_recipe.cache_clear()
    return path


def numbers(path: Path) -> list[int]:
    return [int(one.uuid[-12:]) for one in read_series(path.with_name("series.parquet"))]


def test_annotations_and_the_images_of_their_studies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = write_index(tmp_path / "index.parquet", ROWS)
    path = recipe(tmp_path / "a")
    pins.main([str(path), "--index", str(index)])
    assert numbers(path) == [9, 10, 1, 8, 2]
    assert "5 series (3 CT, 2 SEG) of 2 patients" in capsys.readouterr().out
    series = read_series(path.with_name("series.parquet"), "25.0.5")[4]
    assert series.path == "P-1/1.2.1/SEG_1.2.9.2"
    assert series.url == f"s3://idc-open-data/{UUID.format(2)}"
    assert (series.files, series.size_bytes, series.licence) == (1, 4567, "CC BY 4.0")
    assert series.even is None and series.uneven_because is None


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    lists = []
    for name, rows in (("a", ROWS), ("b", ROWS[::-1])):
        index = write_index(tmp_path / f"{name}.parquet", rows)
        path = recipe(tmp_path / name)
        pins.main([str(path), "--index", str(index)])
        lists.append(path.with_name("series.parquet").read_bytes())
    assert lists[0] == lists[1]


def test_what_a_recipe_can_choose(tmp_path: Path) -> None:
    index = str(write_index(tmp_path / "index.parquet", ROWS))
    for name, changes, expected in (
        ("a", {"described": "li.*"}, [1, 8, 2]),
        ("b", {"images": ["CT", "MR"]}, [9, 10, 1, 7, 8, 2]),
        ("c", {"annotations_of": ["others"]}, [5, 4]),
    ):
        path = recipe(tmp_path / name, **changes)
        pins.main([str(path), "--index", index])
        assert sorted(numbers(path)) == sorted(expected)
    # A collection's own objects are those of its name.
    own = write_index(tmp_path / "own.parquet", [row(1), row(2, Modality="SEG")])
    path = recipe(tmp_path / "d", annotations_of=["lesions"])
    pins.main([str(path), "--index", str(own)])
    assert numbers(path) == [1, 2]


def test_geometry_says_which_series_are_even(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index.parquet", [*ROWS, row(11), row(12)])
    checks = dict.fromkeys([*pins.CHECKS, pins.EVEN], True)
    failed = {"uniform_slice_spacing": False, "unique_slice_positions": False, pins.EVEN: False}
    geometry = tmp_path / "geometry.parquet"
    table = [
        {"SeriesInstanceUID": "1.2.9.1", **checks},
        {"SeriesInstanceUID": "1.2.9.11", **checks, **failed},
    ]
    pq.write_table(pa.Table.from_pylist(table), geometry)
    path = recipe(tmp_path / "a")
    pins.main([str(path), "--index", str(index), "--geometry", str(geometry)])
    found = {
        int(one.uuid[-12:]): (one.even, one.uneven_because)
        for one in read_series(path.with_name("series.parquet"))
    }
    assert found[1] == (True, None)
    assert found[11] == (False, "slices at one position, uneven steps between slices")
    assert found[12] == found[2] == (None, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"index": "24.0.0"}, ["pins idc-index-data 24.0.0", "is 25.0.5"]),
        ({"collections": ["nowhere"]}, ["no such annotations"]),
        ({"images": ["PT"]}, ["no such images"]),
    ],
)
def test_what_cannot_be_listed(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    index = write_index(tmp_path / "index.parquet", ROWS)
    with pytest.raises(SystemExit) as caught:
        pins.main([str(recipe(tmp_path / "a", **changes)), "--index", str(index)])
    for word in words:
        assert word in str(caught.value)


def test_an_index_without_a_version(tmp_path: Path) -> None:
    index = tmp_path / "index.parquet"
    pq.write_table(pa.table({"PatientID": ["a"]}), index)
    with pytest.raises(SystemExit, match="does not say its version"):
        pins.main([str(recipe(tmp_path / "a")), "--index", str(index)])


def test_a_patient_whose_name_is_no_name_of_a_folder(tmp_path: Path) -> None:
    index = write_index(tmp_path / "index.parquet", [row(1, PatientID="../P"), *ROWS[1:]])
    with pytest.raises(SystemExit, match=r"patient_id is '\.\./P'"):
        pins.main([str(recipe(tmp_path / "a")), "--index", str(index)])
