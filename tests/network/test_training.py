"""Training: continues to the same weights, keeps held-out patients, learns."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from makers.forked import forked
from makers.vois import tiny_plan, write_voi, write_vois

from uls_data.cli.train import command
from uls_data.errors import ManifestError
from uls_data.network.checkpoint import load_model, read_checkpoint
from uls_data.network.plan import ModelError
from uls_data.network.training import TrainReport, train

HERE = Path(__file__).parent


def run(vois: Path, out: Path, **options: Any) -> TrainReport:
    options = {"plan": tiny_plan(), "device": "cpu", "seed": 5, "workers": 1, **options}
    return train(vois, out, **options)


def weights(model: Path) -> dict[str, torch.Tensor]:
    stored = read_checkpoint(model / "fold_0" / "checkpoint_final.pth")
    found: dict[str, torch.Tensor] = stored["network_weights"]
    return found


def same(one: Path, other: Path) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def curve(model: Path) -> list[dict[str, str]]:
    with (model / "curves.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def model(vois: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model")
    report = run(vois, out)
    assert (report.steps, report.trained, report.heldout) == (9, 5, 1)
    assert report.failed == [] and report.checkpoint.is_file()
    return out


class KilledError(Exception):
    pass


def test_interrupted_anywhere_it_comes_to_the_same_weights(
    vois: Path, model: Path, tmp_path: Path
) -> None:
    chance = random.Random(20231029)
    for attempt in range(3):
        out = tmp_path / str(attempt)
        kills = sorted(chance.sample(range(1, 9), 2))
        done = 0

        def progress(count: int, _loss: float, kills: list[int] = kills) -> None:
            nonlocal done
            done += count
            if kills and done == kills[0]:
                kills.pop(0)
                raise KilledError

        while True:
            start: list[int] = []
            try:
                run(vois, out, progress=progress, started=lambda _, n, s=start: s.append(n))
                break
            except KilledError:
                done = done // 3 * 3  # the last checkpoint is at the end of an epoch
        assert same(out, model)
        # To the byte: rows of pseudo-masks hold its hash.
        checkpoints = [folder / "fold_0" / "checkpoint_final.pth" for folder in (out, model)]
        assert checkpoints[0].read_bytes() == checkpoints[1].read_bytes()
    curves = curve(tmp_path / "0")
    undisturbed = curve(model)
    for one, other in zip(curves, undisturbed, strict=True):
        assert {**one, "seconds": ""} == {**other, "seconds": ""}
    assert (tmp_path / "0" / "validation.csv").read_text() == (model / "validation.csv").read_text()


def test_killed_by_the_system(vois: Path, tmp_path: Path) -> None:
    prepare = f"""
import signal
sys.path.insert(0, {str(HERE.parent)!r})
import uls_data.network.augmentation  # loaded when first needed: here, and not three times
from makers.vois import tiny_plan
from uls_data.network.training import train

def trained(out, kill_after=0):
    left = [kill_after]
    def progress(count, loss):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    train({str(vois)!r}, out, plan=tiny_plan(), device="cpu", seed=5, workers=1,
          progress=progress, started=lambda total, done: print(total, done, flush=True))
"""
    whole, out = str(tmp_path / "whole"), str(tmp_path / "out")
    calls = [f"trained({whole!r})", f"trained({out!r}, 5)", f"trained({out!r})"]
    said = forked(prepare, calls)
    assert said.split("\n") == ["9 0", "exit 0", "9 0", "exit -9", "9 3", "exit 0", ""]
    assert same(tmp_path / "out", tmp_path / "whole")
    assert not list((tmp_path / "out" / "fold_0").glob(".tmp-*"))


def test_done_is_done_and_another_training_needs_another_folder(vois: Path, model: Path) -> None:
    steps: list[int] = []
    report = run(vois, model, progress=lambda count, _: steps.append(count))
    assert steps == [] and report.validation[-1]["lesion_type"] == "all"
    for other in ({"seed": 6}, {"steps": 4}, {"weak": "background"}, {"include_heldout": True}):
        with pytest.raises(ModelError, match="another training"):
            run(vois, model, **other)


def test_workers_and_cache_do_not_matter(vois: Path, model: Path, tmp_path: Path) -> None:
    run(vois, tmp_path, workers=3)
    assert same(tmp_path, model)


def test_precision_is_on_record(vois: Path, model: Path, tmp_path: Path) -> None:
    assert run(vois, model, precision="float32").done == 9  # what a CPU does anyway
    with pytest.raises(ModelError, match="another training"):
        run(vois, model, precision="bfloat16")
    run(vois, tmp_path, precision="bfloat16")
    assert load_model(tmp_path).record["precision"] == "bfloat16"
    half, full = weights(tmp_path), weights(model)
    assert all(half[name].dtype == torch.float32 for name in half)
    assert not same(tmp_path, model)
    assert all(torch.allclose(half[name], full[name], atol=0.1) for name in full)


def test_heldout_patients_are_on_record(vois: Path, model: Path, tmp_path: Path) -> None:
    record = load_model(model).record
    assert record["heldout_seen"] is False and record["include_heldout"] is False
    assert record["lesions"] == [f"s/p{n}/1" for n in range(5)]
    assert record["patients"] == [f"s/p{n}" for n in range(5)]
    run(vois, tmp_path / "all", steps=1, include_heldout=True)
    seen = load_model(tmp_path / "all").record
    assert seen["heldout_seen"] and seen["include_heldout"] and "s/p9/1" in seen["lesions"]
    # What a model saw, those that start from it have seen.
    run(vois, tmp_path / "tuned", steps=1, plan=None, init=tmp_path / "all")
    tuned = load_model(tmp_path / "tuned").record
    assert tuned["heldout_seen"] and not tuned["include_heldout"]
    assert tuned["init_sha256"] == load_model(tmp_path / "all").sha256


def test_fine_tuning(vois: Path, model: Path, tmp_path: Path) -> None:
    run(vois, tmp_path, plan=None, init=model)
    first, *_ = curve(tmp_path)
    assert first["step"] == "3"  # fine_tune_epochs: 1
    # The last of three steps, a quarter of 1e-2, the schedule's power.
    assert float(first["learning_rate"]) == pytest.approx(2.5e-3 * (1 / 3) ** 0.9, rel=1e-4)
    assert load_model(tmp_path).plan.intensities == load_model(model).plan.intensities
    with pytest.raises(ModelError, match="architecture differs"):
        run(vois, tmp_path / "no", plan="baseline", init=model)


def test_it_learns(vois: Path, tmp_path: Path) -> None:
    plan = tiny_plan(batch_size=4, steps_per_epoch=40, epochs=1, augment=False, reclick=0)
    plan = plan.model_copy(update={"intensities": "fingerprint"})
    report = run(vois, tmp_path, plan=plan)
    assert 58 < load_model(tmp_path).intensities.mean < 62  # balls of 60 HU
    (liver, everything) = report.validation
    assert (liver["lesion_type"], liver["lesions"]) == ("liver", 1)
    assert everything["dice"] > 0.8
    unread = load_model(tmp_path)
    assert unread.networks[0].training is False and unread.record["steps"] == 40


def test_bad_files_do_not_stop_it(tmp_path: Path) -> None:
    rows = [write_voi(tmp_path, f"q{n}") for n in range(3)]
    (tmp_path / rows[1]["image_path"]).write_bytes(b"nothing")
    write_vois(tmp_path, rows)
    report = run(tmp_path, tmp_path / "m", steps=4)
    (failed,) = report.failed
    assert failed["voi_id"] == rows[1]["voi_id"] and failed["reason"] == "unreadable"
    assert run(tmp_path, tmp_path / "m", steps=4).failed == report.failed


def test_what_cannot_be_read_at_all_is_said(tmp_path: Path) -> None:
    """And not that the lesions have no voxels."""
    write_vois(tmp_path, [write_voi(tmp_path, "a", image_path="s/images/gone.nii")])
    plan = tiny_plan().model_copy(update={"intensities": "fingerprint"})
    with pytest.raises(ManifestError, match=r"none of the 1 VOIs.* a_lesion_01_sample_0: .*gone"):
        train(tmp_path, tmp_path / "model", plan=plan, device="cpu")


def test_wrong_calls(vois: Path, tmp_path: Path) -> None:
    for options, words in [
        ({"device": "tpu"}, "expected auto, cpu or cuda"),
        ({"precision": "int8"}, "expected one of auto, float32, bfloat16, float16"),
        ({"precision": "float16"}, "training on a CPU takes float32 or bfloat16"),
        ({"epochs": 1, "steps": 1}, "not both"),
        ({"steps": 0}, "at least 1"),
        ({"weak": "maybe"}, "expected one of"),
        ({"init": tmp_path / "none"}, "no such file or folder"),
    ]:
        with pytest.raises(ModelError, match=words):
            run(vois, tmp_path, **options)
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="no GPU"):
            run(vois, tmp_path, device="cuda")


def test_command(vois: Path, model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "mine.yaml"
    plan.write_text(tiny_plan().text())
    shutil.copytree(model, tmp_path / "model")
    arguments = ["--manifest", str(vois), "--plan", str(plan), "--seed", "5", "--device", "cpu"]
    done = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "model"), "--json"])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["lesion_type"] for row in rows] == ["liver", "all"]
    shown = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "model")])
    assert "9 steps on 5 VOIs, 1 held out" in shown.output and "liver" in shown.output


def test_a_dry_run_touches_nothing(vois: Path, model: Path, tmp_path: Path) -> None:
    plan = tmp_path / "mine.yaml"
    plan.write_text(tiny_plan().text())
    arguments = ["--manifest", str(vois), "--plan", str(plan), "--device", "cpu", "--dry-run"]
    shown = CliRunner().invoke(command, [*arguments, "--out", str(tmp_path / "new")])
    assert shown.exit_code == 0 and not (tmp_path / "new").exists()
    assert "9 steps of" in shown.stdout and "5 VOIs to train on, 1 held out" in shown.stdout
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    again = CliRunner().invoke(command, [*arguments, "--seed", "5", "--out", str(model), "--json"])
    told = json.loads(again.stdout)
    assert (told["steps"], told["done"], told["types"]) == (9, 9, {"lung": 5})
    assert before == {path: path.stat().st_mtime_ns for path in model.rglob("*")}
