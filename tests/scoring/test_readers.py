"""Lines of one reader, scored on the masks of the others; and lesions without an image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from makers.shared import Shared

from uls_data import calibrate, evaluate_2d
from uls_data.cli import cli
from uls_data.errors import ManifestError
from uls_data.manifest.example import read_examples
from uls_data.manifest.parquet import write_manifest
from uls_data.measure.overlap import dice
from uls_data.scoring import Evaluation
from uls_data.volumes import read_volume


@pytest.fixture(scope="module")
def evaluation(shared: Shared) -> Evaluation:
    return evaluate_2d(shared.out("lidc_idri"), ("quarter_ellipses",), readers=True)


def test_every_reader_draws_and_every_other_scores(evaluation: Evaluation) -> None:
    assert {row["drawn_by"][:7] for row in evaluation.scores} == {"reader-"}
    assert {row["jitter"] for row in evaluation.scores} == {0.0}
    of_one: dict[tuple[object, ...], set[tuple[str, str]]] = {}
    for row in evaluation.scores:
        if row["method"] == "quarter_ellipses":
            lesion = (row["case_id"], row["lesion_index"])
            of_one.setdefault(lesion, set()).add((row["drawn_by"], row["scored_on"]))
    for row in evaluation.failed:
        assert row["reason"] == "no_lesion"
        of_one[row["case_id"], row["lesion_index"]].add((row["drawn_by"], row["scored_on"]))
    for pairs in of_one.values():
        readers = {drawn for drawn, _ in pairs}
        assert len(readers) >= 2
        assert pairs == {(a, b) for a in readers for b in readers}


def test_the_readers_own_agreement_stands_beside_the_methods(
    evaluation: Evaluation, shared: Shared
) -> None:
    labels = {
        (e.row["case_id"], e.row["lesion_index"], e.row["layer"]): e
        for e in read_examples(shared.out("lidc_idri"))
        if e.row["status"] == "ok"
    }
    rows = [row for row in evaluation.scores if row["method"] == "reader"]
    assert rows
    for row in rows:
        lesion = (row["case_id"], row["lesion_index"])
        one, other = (
            read_volume(example.label, example.label.parent).ras[:, :, row["slice_voi"]] != 0
            for example in (labels[*lesion, row[name]] for name in ("drawn_by", "scored_on"))
        )
        assert row["dice"] == pytest.approx(dice(one, other), abs=0.02)  # largest components


def test_lines_flatter_on_the_mask_that_they_come_from(evaluation: Evaluation) -> None:
    found = {(row["lines"], row["method"]): row["dice"] for row in evaluation.summary()}
    assert found["own", "quarter_ellipses"] > found["other", "quarter_ellipses"]
    assert ("own", "reader") not in found
    assert {row["lines"] for row in evaluation.gains()} == {"own", "other"}


def test_command_line(shared: Shared) -> None:
    vois = str(shared.out("lidc_idri"))
    arguments = ["evaluate-2d", vois, "--method", "ellipse", "--readers"]
    result = CliRunner().invoke(cli, arguments, standalone_mode=False)
    assert result.return_value == 0, result.output
    assert "own" in result.output and "other" in result.output and "reader" in result.output
    result = CliRunner().invoke(cli, [*arguments, "--json"], standalone_mode=False)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {row["scored_on"] for row in rows} >= {"reader-1", "reader-2"}


def test_a_source_of_one_reader_is_refused(shared: Shared) -> None:
    with pytest.raises(ManifestError, match="masks of two readers"):
        evaluate_2d(shared.out("lits"), ("ellipse",), readers=True)


def test_without_images_shapes_are_scored_alone(shared: Shared, tmp_path: Path) -> None:
    out = shared.vois(tmp_path / "vois", "lits")
    rows = [{**e.row, "image_path": None} for e in read_examples(out)]
    (out / "manifest" / "lits.parquet").unlink()  # a link to what others use
    write_manifest(rows, out / "manifest" / "lits.parquet")
    found = evaluate_2d(out, ("jury", "ellipse"), draws=0)
    assert found.methods == ("ellipse", "quadrilateral")
    seen = evaluate_2d(shared.out("lits"), ("ellipse",), draws=0)
    blind, seeing = (
        [row for row in evaluation.scores if row["method"] in found.methods]
        for evaluation in (found, seen)
    )
    assert blind == seeing
    assert not found.predictions and not found.failed
    found.write(tmp_path / "scores")
    result = CliRunner().invoke(cli, ["evaluate-2d", str(out)], standalone_mode=False)
    assert result.return_value == 0, result.output
    assert "No image: jury, grabcut" in result.output
    with pytest.raises(ManifestError, match="patients"):
        calibrate(out, tmp_path / "q.json")


@pytest.mark.real
def test_annotators_of_a_kidney_tumour(real_data: Path, shared: Shared) -> None:
    found = evaluate_2d(shared.kits_readers(real_data), ("quarter_ellipses",), readers=True)
    assert not found.failed
    means = {(row["lines"], row["method"]): row["dice"] for row in found.summary()}
    # Two cases have three annotators and three tumours between them.
    assert len({(row["case_id"], row["lesion_index"]) for row in found.scores}) == 3
    assert means["other", "reader"] == pytest.approx(0.95, abs=0.03)
    assert means["own", "quarter_ellipses"] > means["other", "quarter_ellipses"] > 0.8
    assert np.isfinite([row["dice_low"] for row in found.summary()]).all()
