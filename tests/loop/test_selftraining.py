"""The loop: nobody is seen who must not be, counts close, and any end is only a pause."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from makers.certified import write_certificate
from makers.forked import forked
from makers.vois import tiny_plan, write_voi, write_vois

from uls_data import load_manifest
from uls_data.cli.selftrain import command
from uls_data.errors import ManifestError
from uls_data.io import sha256_file
from uls_data.loop import LoopReport, selftrain
from uls_data.network.checkpoint import load_model
from uls_data.network.plan import ModelError, Prompt

HERE = Path(__file__).parent
FOLDS = 2
MEASURED = {
    "supervision": "weak_2d",
    "layer": "jury",
    "key_slice_voi": 64,
    "recist_points_vox": [120.0, 128.0, 136.0, 128.0, 128.0, 120.0, 128.0, 136.0],
}


def plan() -> Any:
    return tiny_plan(learning_rate=0.05, augment=False, epochs=8, fine_tune_epochs=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weak and full lesions; p9 is held out in both, and two weak ones measure too long."""
    root = tmp_path_factory.mktemp("loop")
    weak = []
    for n in range(6):
        long = 16.0 if n < 4 else 40.0
        row = {"recist_long_vox": long, "recist_short_vox": 16.0, **MEASURED}
        weak.append(write_voi(root / "weak", f"w{n}", 8, **row))
    weak.append(write_voi(root / "weak", "p9", 8, **{**row, "recist_long_vox": 16.0}))
    write_vois(root / "weak", weak)
    full = [write_voi(root / "full", f"p{n}", 7 + n) for n in range(3)]
    full.append(write_voi(root / "full", "p9", 9, split="heldout"))
    write_vois(root / "full", full)
    return root / "weak", root / "full"


def run(data: tuple[Path, Path], out: Path, **options: Any) -> LoopReport:
    return selftrain(*data, out, **{"plan": plan(), "device": "cpu", "workers": 1, **options})


def tree(out: Path) -> dict[str, str]:
    # Curves hold seconds: weights are compared by the masks.
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*.nii.gz"))
    }


@pytest.fixture(scope="module")
def looped(data: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("looped")
    report = run(data, out)
    assert [made.layer for made in report.rounds] == ["pseudo3d-r1", "pseudo3d-r2"]
    for made in report.rounds:
        assert made.predicted == {"ok": 7, "skipped": 0, "failed": 0}
        assert (made.filtered.kept, made.filtered.removed) == (5, 2)
        (_, everything) = made.heldout
        assert everything["group"] == "all" and everything["lesions"] == 1
    # The teacher of round 1 learned from the 2D masks of the six; nobody learned from p9.
    assert [made.teacher_saw for made in report.rounds] == [6, 4]
    assert report.rounds[0].gain is None
    beside = report.rounds[0].beside_ellipsoid
    assert beside is not None and beside["lesions"] == 1
    assert report.rounds[1].gain is not None and report.rounds[1].gain["lesions"] == 1
    return out


def test_who_trained_what(looped: Path) -> None:
    seen = {}
    for path in sorted(looped.glob("round-*/all/*/fold_0/checkpoint_final.pth")):
        model = load_model(path)
        seen["/".join(path.parts[-5:-2])] = set(model.record["patients"])
        assert model.record["heldout_seen"] is False
    weak, full = {f"s/w{n}" for n in range(6)}, {f"s/p{n}" for n in range(3)}
    kept = {f"s/w{n}" for n in range(4)}
    assert seen == {
        "round-1/all/pretrained": weak,
        "round-1/all/model": weak | full,
        "round-2/all/pretrained": kept,
        "round-2/all/model": kept | full,
    }


def test_every_generation_is_a_layer(looped: Path) -> None:
    rows = load_manifest(looped)
    assert len(rows) == 14 and set(rows["layer"]) == {"pseudo3d-r1", "pseudo3d-r2"}
    removed = rows[rows["status"] == "skipped"]
    assert set(removed["reason"]) == {"filtered"} and set(removed["case_id"]) == {"w4", "w5"}
    assert removed["detail"].str.contains("long_axis").all()
    assert rows.groupby("layer")["model_sha256"].nunique().eq(1).all()
    written = json.loads((looped / "loop.json").read_text())
    assert written["model"] == "round-2/all/model"
    assert written["rounds"][0]["filtered"]["removed"] == 2


def test_a_student_that_sees_a_click_learns_from_a_teacher_that_is_told_the_lines(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    told = {"crop": (16, 32, 32), "pool": (1, 1, 1), "prompt": Prompt()}
    teacher = tiny_plan(augment=False, epochs=1, fine_tune_epochs=1).model_copy(update=told)
    # Masks in 3D are little of what is seen: it takes longer to find a first lesion.
    longer = tiny_plan(learning_rate=0.05, augment=False, epochs=40, fine_tune_epochs=4)
    report = run(data, tmp_path, plan=longer, teacher=teacher, rounds=1, rule="mask_voxels > 0")
    (made,) = report.rounds
    assert made.teacher_prompt == "lines" and made.heldout == []
    # It is told the 2D masks of the six, so it learned from the full masks alone.
    (model,) = made.models
    assert made.teacher_saw == 0
    assert set(load_model(model).record["patients"]) == {f"s/p{n}" for n in range(3)}
    assert load_model(model).record["steps"] == 2 * teacher.training.steps_per_epoch
    assert made.predicted["ok"] == made.filtered.kept == 7
    rows = load_manifest(tmp_path)
    assert set(rows["teacher_prompt"]) == {"lines"} and set(rows["layer"]) == {"pseudo3d-r1"}
    student, pretrained = (load_model(tmp_path / "student" / n) for n in ("model", "pretrained"))
    assert report.model == tmp_path / "student" / "model" and student.plan.prompt is None
    assert set(pretrained.record["patients"]) == {f"s/w{n}" for n in range(6)}
    assert "s/p9" not in student.record["patients"]
    assert report.student[-1]["group"] == "all" and report.student[-1]["lesions"] == 1
    written = json.loads((tmp_path / "loop.json").read_text())
    assert written["model"] == "student/model" and written["student"] == report.student
    assert written["rounds"][0]["teacher_prompt"] == "lines"


def test_killed_at_any_stage_it_goes_on(data: tuple[Path, Path], tmp_path: Path) -> None:
    prepare = f"""
import signal
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
from pathlib import Path
from test_selftraining import run

class Stage:
    def __init__(self, left): self.left = left
    def begin(self, total, done=0): pass
    def end(self): pass
    def step(self, cases, things):
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)

def loop(out, kill_after=0):
    stage = Stage(kill_after)
    run((Path({str(data[0])!r}), Path({str(data[1])!r})), Path(out), stage=lambda _: stage)
"""
    out, whole = tmp_path / "out", tmp_path / "whole"
    # 24 + 3 steps and 7 + 1 VOIs, twice: 70 in all, and some done again.
    chance = random.Random(20240109)
    kills = [chance.randint(5, 25) for _ in range(2)]
    calls = [f"loop({str(out)!r}, {kill})" for kill in kills]
    said = forked(prepare, [f"loop({str(whole)!r})", *calls, f"loop({str(out)!r})"])
    assert said.split("\n") == ["exit 0", "exit -9", "exit -9", "exit 0", ""]
    assert tree(out) == tree(whole)
    for layer in ("pseudo3d-r1", "pseudo3d-r2"):
        one, other = (
            load_manifest(tmp_path / name / "manifest" / f"{layer}.parquet")
            for name in ("out", "whole")
        )
        assert one.equals(other)


def test_no_teacher_saw_what_it_judges(data: tuple[Path, Path], tmp_path: Path) -> None:
    report = run(data, tmp_path, rounds=1, cross_fit=FOLDS)
    (made,) = report.rounds
    assert made.teacher_saw == 0 and made.predicted["ok"] == 7
    assert [model.parent.name for model in made.models] == ["fold-0", "fold-1"]
    rows = load_manifest(tmp_path)
    for model in map(load_model, made.models):
        judged = rows[rows["model_sha256"] == model.sha256]
        patients = {f"s/{case}" for case in judged["case_id"]}
        assert len(judged) and not patients & set(model.record["patients"])
    everybody = {f"s/w{n}" for n in range(6)} | {f"s/p{n}" for n in range(3)}
    assert set(load_model(report.model).record["patients"]) == everybody


def test_what_cannot_go_on_says_why(data: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="kept none"):
        run(data, tmp_path / "none", rule="mask_voxels > 1e9")
    with pytest.raises(ModelError, match="2 folds"):
        run(data, tmp_path / "x", cross_fit=1)


def test_command(data: tuple[Path, Path], tmp_path: Path) -> None:
    plan_file = tmp_path / "plan.yaml"
    plan_file.write_text(plan().text())
    options = ["--plan", str(plan_file), "--rounds", "1", "--device", "cpu", "--rule", "paper"]
    paths = ["--weak", str(data[0]), "--full", str(data[1]), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(command, [*paths, *options, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["kept"] + told["removed"] == told["ok"] == 7
    result = CliRunner().invoke(command, [*paths, *options])
    assert "held-out dice" in result.stdout and "round 1, all: pre-train" in result.stderr


def test_layers_that_are_read_are_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def loop(*_paths: Path, **options: Any) -> LoopReport:
        asked.update(options)
        raise ManifestError("enough")

    monkeypatch.setattr("uls_data.loop.selftrain", loop)
    words = ["--weak", "w", "--full", "f", "--out", "o", "--parent", "jury", "--layer", "grabcut"]
    CliRunner().invoke(command, words)
    assert asked["parents"] == ("jury", "grabcut")
    # The option's old name works, and nobody is told of it.
    assert "--layer" not in CliRunner().invoke(command, ["--help"]).output


def test_a_certificate_is_the_rule_and_says_what_it_does_not_know(
    data: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate = write_certificate(tmp_path / "c.json", threshold=0.01, lesion_type="lung")
    (made,) = run(data, tmp_path / "out", rounds=1, certificate=certificate).rounds
    rows = load_manifest(tmp_path / "out" / "manifest" / "pseudo3d-r1.parquet")
    masks = rows[rows["label_path"].notna()]
    assert len(masks) and (masks["certificate"] == sha256_file(certificate)).all()
    assert made.filtered.kept == masks["certified"].sum() == (rows["status"] == "ok").sum()
    assert made.filtered.removed == (rows["reason"] == "filtered").sum()
    assert any(
        "models without a mask in the calibration (1)" in text for text in made.filtered.warnings
    )
