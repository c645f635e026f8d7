"""Lesions that keep their name over time, and days between the studies of a patient."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from makers.followed import write_recipe, write_studies
from makers.own_lines import CENTRES
from makers.own_lines import write_recipe as write_own_recipe

import uls_data
from demo.files import write_nifti
from uls_data.cli import cli
from uls_data.errors import UlsDataError
from uls_data.export import export_monai
from uls_data.ids import track_id
from uls_data.manifest.growth import growth
from uls_data.manifest.parquet import iterate_rows
from uls_data.sources.days import day_of


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("followed")
    write_studies(root / "raw")
    write_recipe(root / "recipe.yaml")
    return root


@pytest.fixture(scope="module")
def built(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    uls_data.build(archive / "recipe.yaml", archive / "raw", out)
    return out


def rows_of(out: Path) -> list[dict[str, Any]]:
    return list(iterate_rows(out / "manifest" / "mine.parquet"))


def days(rows: Any) -> dict[str, int | None]:
    return {row["case_id"]: row["study_day"] for row in rows}


def test_tracks_and_days_of_segmentations(built: Path) -> None:
    rows = rows_of(built)
    assert days(rows) == {"p1_a": 0, "p1_b": 91, "p1_c": 365, "p2_a": 0}
    tracks: dict[Any, set[tuple[str, int]]] = {}
    for row in rows:
        tracks.setdefault(row["lesion_track_id"], set()).add((row["case_id"], row["lesion_index"]))
    assert tracks == {
        track_id("uid", "1.2.3.77.1"): {("p1_a", 1), ("p1_b", 2), ("p1_c", 1)},
        track_id("uid", "1.2.3.77.2"): {("p1_a", 2), ("p1_b", 1)},
        track_id("uid", "1.2.3.77.5"): {("p2_a", 1)},
        None: {("p1_c", 2)},
    }


def test_neither_dates_nor_tracking_ids_reach_an_output(built: Path) -> None:
    for path in (path for path in built.rglob("*") if path.is_file()):
        data = path.read_bytes()
        for word in (b"20210310", b"2021-03-10", b"1.2.3.77", b"Muster"):
            assert word not in data, path
    text = uls_data.load_manifest(built).to_csv()
    assert "2021" not in text and "1.2.3.77" not in text


def test_growth_from_study_to_study(built: Path) -> None:
    steps = growth(built)
    first = [step for step in steps if step["lesion_track_id"] == track_id("uid", "1.2.3.77.1")]
    assert [(step["voi_before"][:4], step["voi_after"][:4], step["days"]) for step in first] == [
        ("p1_a", "p1_b", 91),
        ("p1_b", "p1_c", 274),
    ]
    # 3 x 3, 2 x 2 and 4 x 3 voxels on two slices.
    changes = [step["volume_change_percent"] for step in first]
    assert changes == [pytest.approx(-55.6), pytest.approx(200.0)]
    assert first[0]["volume_doubling_days"] < 0
    assert first[1]["volume_doubling_days"] == pytest.approx(274 * np.log(2) / np.log(3), abs=0.1)
    assert len(steps) == 3 and all(step["long_before_mm"] > 0 for step in steps)
    table = CliRunner().invoke(cli, ["query", str(built), "--growth"])
    assert "91" in table.stdout and "-55.6" in table.stdout and table.exit_code == 0
    told = CliRunner().invoke(cli, ["query", str(built), "--growth", "--json"])
    assert [json.loads(line) for line in told.stdout.splitlines()] == steps
    rows = CliRunner().invoke(cli, ["query", str(built), "--growth", "--csv"]).stdout.splitlines()
    assert len(list(csv.DictReader(rows))) == 3


def test_the_report_shows_growth(built: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from uls_data.reporting import making

    monkeypatch.setattr(making, "figures", lambda _rows, _numbers: ())
    made = uls_data.report(built, tmp_path / "page.html")
    page = made.page.read_text("utf-8")
    assert "Lesions over time" in page and "3 steps" in page
    with (made.files / "growth.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 3


def test_pairs_export_as_one_unit_of_one_fold(built: Path, tmp_path: Path) -> None:
    made = export_monai(built, tmp_path, pairs=True, folds=2)
    content = json.loads(made.path.read_text())
    items = content["training"] + content["validation"]
    assert sorted((item["case_id"], item["prior_voi_id"][:4], item["days"]) for item in items) == [
        ("p1_b", "p1_a", 91),
        ("p1_b", "p1_a", 91),
        ("p1_c", "p1_b", 274),
    ]
    for item in items:
        for kind in ("image", "label", "prior_image", "prior_label"):
            assert (tmp_path / item[kind]).is_file()
    assert len({item["fold"] for item in items}) == 1
    assert made.left_out["without a previous study of the lesion"] == 4


def test_an_earlier_study_moves_the_days_of_its_patient_alone(
    archive: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(archive / "raw", raw)
    shutil.move(raw / "p1_a", tmp_path / "p1_a")
    options: dict[str, Any] = {"labels_only": True}
    recipe, out = archive / "recipe.yaml", tmp_path / "out"
    assert days(uls_data.build(recipe, raw, out, **options).rows) == {
        "p1_b": 0, "p1_c": 274, "p2_a": 0,
    }  # fmt: skip
    shutil.move(tmp_path / "p1_a", raw / "p1_a")
    again = uls_data.build(recipe, raw, out, **options)
    assert days(again.rows) == {"p1_a": 0, "p1_b": 91, "p1_c": 365, "p2_a": 0}
    clean = uls_data.build(recipe, raw, tmp_path / "clean", **options)
    assert (out / "manifest/mine.parquet").read_bytes() == clean.manifest.read_bytes()


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ({"p1_b": ""}, {"p1_a": None, "p1_b": None, "p1_c": None, "p2_a": 0}),
        ({"p1_b": "19000101"}, {"p1_a": None, "p1_b": None, "p1_c": None, "p2_a": 0}),
        # As LIDC's and many others' are after de-identification; decades do no harm.
        ({"p1_b": "20000101"}, {"p1_a": None, "p1_b": None, "p1_c": None, "p2_a": 0}),
        ({"p2_a": "19591004"}, {"p1_a": 0, "p1_b": 91, "p1_c": 365, "p2_a": 0}),
        ({"p2_a": ""}, {"p1_a": 0, "p1_b": 91, "p1_c": 365, "p2_a": 0}),
    ],
)
def test_studies_without_a_date(
    tmp_path: Path, dates: dict[str, str], expected: dict[str, int | None]
) -> None:
    write_studies(tmp_path / "raw", dates)
    recipe = write_recipe(tmp_path / "recipe.yaml")
    rows = uls_data.build(recipe, tmp_path / "raw", tmp_path / "out", labels_only=True).rows
    assert days(rows) == expected


def test_a_rule_on_names_of_structures(archive: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.yaml", timeline={"track": r"(?i:lesion (\d+))"})
    rows = uls_data.build(recipe, archive / "raw", tmp_path / "out", labels_only=True).rows
    named = {(row["case_id"], row["lesion_index"]): row["lesion_track_id"] for row in rows}
    assert named["p1_a", 1] == named["p1_b", 1] == named["p1_c", 1] != named["p1_a", 2]
    # The same name is another lesion in another patient.
    assert named["p2_a", 1] != named["p1_a", 1]


def test_days_and_numbers_by_the_recipe_of_volumes(tmp_path: Path) -> None:
    mask = np.zeros((12, 10, 6), np.uint8)
    mask[2:5, 2:5, 1:3], mask[7:10, 4:8, 2:5] = 1, 2
    for case in ("x_day010", "x_day100", "y_day007"):
        write_nifti(tmp_path / f"raw/{case}_ct.nii.gz", mask.astype(np.int16) * 50, np.eye(4))
        write_nifti(tmp_path / f"raw/{case}_seg.nii.gz", mask, np.eye(4))
    layout = {"name": "flat", "image": "{case}_ct.nii.gz", "mask": "{case}_seg.nii.gz"}
    reader = {"name": "volume_pairs", "layouts": [layout], "patient": "(.)_day.*"}
    recipe = write_recipe(
        tmp_path / "r.yaml",
        reader=reader,
        instances={"rule": "values"},
        timeline={"day": r"._day(\d+)", "numbers": True},
    )
    rows = uls_data.build(recipe, tmp_path / "raw", tmp_path / "out", labels_only=True).rows
    assert days(rows) == {"x_day010": 0, "x_day100": 90, "y_day007": 0}
    named = {(row["case_id"], row["lesion_index"]): row["lesion_track_id"] for row in rows}
    assert named["x_day010", 2] == named["x_day100", 2] != named["x_day010", 1]
    assert named["y_day007", 1] != named["x_day010", 1]


def test_tracks_and_dates_of_a_table(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    volume = np.full((40, 36, 8), 40, np.int16)
    ends = ["long_x1", "long_y1", "long_x2", "long_y2", "short_x1", "short_y1", "short_x2"]
    lines = ["case,slice_index,follow,study_date," + ",".join([*ends, "short_y2"])]
    for case, day in (("p1a", "2021-03-10"), ("p1b", "2021-06-09"), ("p2a", "2020-01-01")):
        write_nifti(raw / f"{case}.nii.gz", volume, np.eye(4))
        lines.append(f"{case},3,Muster-1,{day},8,10,24,10,16,4,16,18")
    (raw / "lines.csv").write_text("\n".join(lines) + "\n")
    table = {"file": "lines.csv", "columns": {"track": "follow"}}
    recipe = write_own_recipe(
        tmp_path / "own.yaml",
        patient="(p.).",
        images="{case}.nii.gz",
        table=table,
        coordinates=CENTRES,
    )
    rows = uls_data.build(recipe, raw, tmp_path / "out", masks=["quadrilateral"]).rows
    assert days(rows) == {"p1a": 0, "p1b": 91, "p2a": 0}
    tracks = {row["case_id"]: row["lesion_track_id"] for row in rows}
    assert tracks["p1a"] == tracks["p1b"] != tracks["p2a"]
    assert all(len(str(track)) == 16 for track in tracks.values())


@pytest.mark.parametrize(
    ("timeline", "words"),
    [
        ({"day": r"(\d)", "date": r"(\d)"}, "either day or date"),
        ({"track": "(a)", "numbers": True}, "one of track, series and numbers"),
        ({"day": r"\d+"}, "exactly one group"),
        ({"track": "("}, "regular expression"),
    ],
)
def test_what_a_recipe_may_not_say(tmp_path: Path, timeline: dict[str, Any], words: str) -> None:
    with pytest.raises(UlsDataError, match=words):
        uls_data.recipe.load_recipe(write_recipe(tmp_path / "r.yaml", timeline=timeline))


@pytest.mark.parametrize(
    ("text", "known"),
    [
        *((text, True) for text in ("20210310", "2021-03-10", "2021.03.10", " 20210310 ")),
        *((text, False) for text in ("", "10-03-2021", "2021-0310", "20211340", "19000101")),
    ],
)
def test_dates_that_can_be_read(text: str, known: bool) -> None:
    assert (day_of(text) == day_of("20210310")) is known


def test_dates_moved_by_decades_keep_their_distance() -> None:
    assert (day_of("19591221") or 0) - (day_of("19591004") or 0) == 78
