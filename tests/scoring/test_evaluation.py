"""The evaluation of 2D methods, from a build to its tables, pictures and exit code."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from makers import small_build
from makers.shared import Shared
from PIL import Image

from uls_data import contact_sheet, evaluate_2d
from uls_data.cli import cli
from uls_data.errors import ManifestError, SourceError
from uls_data.scoring import Evaluation

PLAIN = ("quarter_ellipses", "ellipse")


@pytest.fixture(scope="module")
def vois(shared: Shared) -> Path:
    return shared.out("kits21")


@pytest.fixture(scope="module")
def evaluation(vois: Path) -> Evaluation:
    return evaluate_2d(vois, ("jury", "quarter_ellipses"), slices="all", draws=1)


def test_every_method_sees_every_slice(evaluation: Evaluation) -> None:
    assert not evaluation.failed
    assert set(evaluation.trial.methods) == {
        *("jury", "quarter_ellipses", "quadrilateral", "ellipse", "grabcut")
    }
    counts: dict[tuple[object, ...], int] = {}
    for row in evaluation.scores:
        key = (row["case_id"], row["lesion_index"], row["slice_voi"], row["draw"])
        counts[key] = counts.get(key, 0) + 1
    assert set(counts.values()) == {5}
    assert {(row["draw"], row["jitter"]) for row in evaluation.scores} == {
        *((0, 0.0), (1, 0.05), (2, 0.15))
    }
    assert all(0 <= row["dice"] <= 1 for row in evaluation.scores)


def test_workers_and_order_change_nothing(vois: Path) -> None:
    alone = evaluate_2d(vois, PLAIN, draws=2, jitter=0.05)
    two = evaluate_2d(vois, PLAIN, draws=2, jitter=0.05, workers=2)
    assert alone.scores == two.scores
    other = evaluate_2d(vois, PLAIN, draws=2, jitter=0.05, seed=1)
    noisy = [[r["dice"] for r in e.scores if r["draw"]] for e in (alone, other)]
    clean = [[r["dice"] for r in e.scores if not r["draw"]] for e in (alone, other)]
    assert clean[0] == clean[1]
    assert noisy[0] != noisy[1]


def test_what_is_written(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write(tmp_path)
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(evaluation.scores)
    assert float(rows[0]["dice"]) == evaluation.scores[0]["dice"]
    with Image.open(tmp_path / "risk.png") as picture:
        assert picture.size[0] > 500
    assert {p.stem for p in tmp_path.glob("by_*.csv")} == {
        *("by_all", "by_size", "by_lesion_type", "by_case", "by_cut")
    }


def test_command_line(vois: Path, tmp_path: Path) -> None:
    arguments = ["evaluate-2d", str(vois), "--method", "ellipse", "--draws", "0"]
    result = CliRunner().invoke(cli, [*arguments, "--by", "size"], standalone_mode=False)
    assert result.return_value == 0, result.output
    assert "By size" in result.output and "quadrilateral" in result.output
    result = CliRunner().invoke(cli, [*arguments, "--json"], standalone_mode=False)
    assert all("dice" in json.loads(line) for line in result.stdout.splitlines())
    sheet = tmp_path / "sheet.png"
    arguments = ["contact-sheet", str(vois), "--to", str(sheet), "--sort", "mask_voxels"]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.return_value == 0, result.output
    with Image.open(sheet) as picture:
        assert np.asarray(picture).std() > 5


def test_nothing_to_score_or_draw_is_said(vois: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="--method ellipsis"):
        evaluate_2d(vois, ("ellipsis",))
    with pytest.raises(ManifestError, match="nothing to draw"):
        contact_sheet(vois, tmp_path / "x.png", "mask_voxels > 1e9")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A lesion of one pixel, and one of four by four."""
    for case, size in (("a", 1), ("b", 4)):
        small_build.put(tmp_path / "raw", case, (small_build.block(8, 9, 7, size),))
    small_build.run(tmp_path / "raw", tmp_path / "vois", {"minimum_size": None})
    return tmp_path / "vois"


def said(*arguments: str | Path) -> tuple[str, int]:
    words = ["evaluate-2d", *map(str, arguments), "--method", "ellipse", "--draws", "0"]
    result = CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False)
    return result.output, result.return_value


def test_a_lesion_too_small_for_lines_is_named(small: Path) -> None:
    found = evaluate_2d(small, PLAIN, draws=0)
    assert {row["case_id"] for row in found.scores} == {"b"}
    assert [(row["case_id"], row["reason"]) for row in found.failed] == [
        ("a", "below_minimum_size")
    ]
    output, code = said(small)
    assert code == 0
    assert "a, lesion 1: no slice of annotated has a long and a short axis" in output
    assert "nan" not in output  # one patient has no interval
    output, code = said(small, "--slices", "all")
    assert code == 1 and "No lesion was scored." in output
    assert "b, lesion 1: no slice of annotated has 25 pixels" in output
    assert "No image" not in output


def test_what_cannot_be_written_is_said(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SourceError, match=r"--to .*file: cannot be written: "):
        said(small, "--to", tmp_path / "file")
    with pytest.raises(SourceError, match=r"--to .*file.x\.png: cannot be written: "):
        contact_sheet(small, tmp_path / "file" / "x.png")
    assert (tmp_path / "file").read_text() == "mine"
    assert contact_sheet(small, tmp_path / "new" / "x.png") == 2


def test_raw_data_of_another_source_are_named(small: Path, shared: Shared) -> None:
    output, _ = said(small, "--raw", f"kits21={shared.raw('kits21')}")
    assert "--raw holds no scan of some lesions of mine: measured on their VOIs." in output


def test_noise_of_no_sense_is_refused(vois: Path) -> None:
    with pytest.raises(ManifestError, match="shares of the axis"):
        evaluate_2d(vois, PLAIN, jitter=(0.05, 1.5))
