"""Lesions measured on their scans where their VOIs cut them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from makers.small_build import put, run, write_recipe

from uls_data import RawScans, evaluate_2d
from uls_data.cli import cli
from uls_data.errors import SourceError
from uls_data.scoring import Evaluation

SHAPE = (440, 44, 7)
HALF_AXES = (205.0, 14.0, 2.4)
PLAIN = ("quarter_ellipses",)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One lesion of 410 pixels, which no VOI holds, and one of 8."""
    raw = tmp_path_factory.mktemp("raw")
    places = np.ogrid[tuple(slice(n) for n in SHAPE)]
    distance = sum(
        ((at - n // 2) / half) ** 2 for at, n, half in zip(places, SHAPE, HALF_AXES, strict=True)
    )
    random = np.random.default_rng(0)
    mask = (np.asarray(distance) <= 1).astype(np.uint8)
    image = (random.normal(0, 15, SHAPE) + 100 * mask).astype(np.int16)
    put(raw, "long", image=image, mask=mask)
    small = np.zeros((60, 60, 7), np.uint8)
    small[26:34, 27:33, 2:5] = 1
    put(raw, "short", image=(100 * small).astype(np.int16), mask=small)
    return raw


@pytest.fixture(scope="module")
def vois(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert run(raw, out).ok == 2
    return out


@pytest.fixture(scope="module")
def scans(raw: Path) -> RawScans:
    return RawScans({str(write_recipe(raw)): raw})


@pytest.fixture(scope="module")
def on_scans(vois: Path, scans: RawScans) -> Evaluation:
    return evaluate_2d(vois, PLAIN, draws=1, jitter=0.05, scans=scans)


def clean(evaluation: Evaluation, case: str) -> dict[str, dict[str, float]]:
    return {
        row["method"]: row
        for row in evaluation.scores
        if row["case_id"] == case and not row["draw"]
    }


def test_a_lesion_that_its_voi_cuts_is_whole_on_its_scan(vois: Path, on_scans: Evaluation) -> None:
    on_vois = evaluate_2d(vois, PLAIN, draws=1, jitter=0.05)
    assert not on_scans.failed and not on_vois.failed
    cut, whole = clean(on_vois, "long"), clean(on_scans, "long")
    assert cut["ellipse"]["long_axis_vox"] < 260 < 400 < whole["ellipse"]["long_axis_vox"] < 411
    # A cut ellipse is none; the whole one is.
    assert cut["ellipse"]["dice"] < 0.95 < whole["ellipse"]["dice"]
    (told,) = on_scans.cut()
    assert (told["case_id"], told["measured_on"]) == ("long", "scan")
    assert told["long_axis_in_voi_vox"] == pytest.approx(cut["ellipse"]["long_axis_vox"], abs=0.1)
    assert 0.1 < told["fraction_outside_voi"] < 0.6
    # What a VOI holds is the same on both: lines, noise and masks.
    ours, theirs = (
        [row for row in evaluation.scores if row["case_id"] == "short"]
        for evaluation in (on_scans, on_vois)
    )
    assert [{**row, "measured_on": "voi"} for row in ours] == theirs


def test_workers_open_scans_too(vois: Path, scans: RawScans, on_scans: Evaluation) -> None:
    again = evaluate_2d(vois, PLAIN, draws=1, jitter=0.05, scans=scans, workers=2)
    assert again.scores == on_scans.scores


def test_other_raw_data_are_refused(vois: Path, raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    mask = np.zeros((60, 60, 7), np.uint8)
    mask[25:34, 27:33, 2:5] = 1
    put(tmp_path / "raw", "short", image=(100 * mask).astype(np.int16), mask=mask)
    other = RawScans({str(write_recipe(raw)): tmp_path / "raw"})
    found = evaluate_2d(vois, PLAIN, draws=0, scans=other)
    (failed,) = found.failed
    assert (failed["case_id"], failed["reason"]) == ("short", "annotation_mismatch")
    assert "another file" in failed["detail"]
    image = raw / "images" / "short.nii"
    shutil.copy(image, tmp_path / "raw" / "images" / "short.nii")
    (failed,) = evaluate_2d(vois, PLAIN, draws=0, scans=other).failed
    assert "not the mask of its VOI" in failed["detail"]


def test_what_is_not_there_is_measured_on_its_voi(vois: Path, raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw, tmp_path / "raw")
    for folder in ("images", "masks"):
        (tmp_path / "raw" / folder / "long.nii").unlink()
    some = RawScans({str(write_recipe(raw)): tmp_path / "raw"})
    found = evaluate_2d(vois, PLAIN, draws=0, scans=some)
    assert {row["case_id"]: row["measured_on"] for row in found.scores} == {
        "long": "voi",
        "short": "scan",
    }


def test_command_line(vois: Path, raw: Path) -> None:
    recipe = write_recipe(raw)
    arguments = ["evaluate-2d", str(vois), "--method", "ellipse", "--draws", "0"]
    result = CliRunner().invoke(cli, [*arguments, "--by", "cut"], standalone_mode=False)
    assert result.return_value == 0, result.output
    for words in (
        "1 lesion reaches beyond its VOI",
        "--raw RECIPE=DIR",
        "cut by its VOI",
        "whole in its",
    ):
        assert words in result.output
    given = [*arguments, "--raw", f"{recipe}={raw}"]
    result = CliRunner().invoke(cli, given, standalone_mode=False)
    assert result.return_value == 0, result.output
    assert "px as measured here" in result.output and "--raw RECIPE=DIR" not in result.output
    result = CliRunner().invoke(cli, [*arguments, "--raw", str(raw)])
    assert result.exit_code == 2 and "RECIPE=DIR" in result.output
    with pytest.raises(SourceError, match="no such folder"):
        RawScans({str(recipe): raw / "nowhere"})
