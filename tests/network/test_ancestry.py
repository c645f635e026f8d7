"""Every training writes a passport, its parents' included; models without one say so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from makers.vois import tiny_plan, write_voi, write_vois

from uls_data.auditing.against import audit_against, passport
from uls_data.cli.audit import command as audit_command
from uls_data.cli.passport import command
from uls_data.io import sha256_file
from uls_data.network.checkpoint import load_model, read_checkpoint, write_checkpoint
from uls_data.network.training import train
from uls_data.passports import PassportError


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("other")
    write_vois(out, [write_voi(out, "q1", 8), write_voi(out, "q2", 9)])
    return out


def run(vois: Path, out: Path, **options: Any) -> Path:
    options = {"plan": tiny_plan(), "device": "cpu", "seed": 5, "workers": 1, **options}
    return train(vois, out, steps=1, **options).model


@pytest.fixture(scope="module")
def model(vois: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(vois, tmp_path_factory.mktemp("passport"), leave_out={"s/p4"})


@pytest.fixture(scope="module")
def tuned(model: Path, other: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(other, tmp_path_factory.mktemp("tuned"), plan=None, init=model)


def roles(model: Path) -> list[tuple[int, str, str]]:
    return [
        (row["stage"], row["role"], row["case_id"])
        for table in passport(model).tables()
        for row in table.to_pylist()
    ]


def test_what_trained_was_held_out_and_left_out(vois: Path, model: Path, tmp_path: Path) -> None:
    assert roles(model) == [
        (0, "heldout", "p9"),
        (0, "left_out", "p4"),
        *((0, "trained", f"p{n}") for n in range(4)),
    ]
    (stage,) = passport(model).stages
    assert (stage.kind, stage.name, stage.seed, stage.steps) == ("train", "tiny", 5, 1)
    assert stage.left_out == {"of patients left out on purpose": 1}
    record = load_model(model).record
    assert record["passport_sha256"] == sha256_file(model / "fold_0" / "passport.parquet")
    again = run(vois, tmp_path, leave_out={"s/p4"})
    assert passport(again).sha256 == passport(model).sha256
    found = audit_against(vois, model)
    assert found.seen.sum() == 4 and found.heldout.sum() == 2 and not found.untold.any()


def test_who_is_trained_further_has_seen_both(vois: Path, other: Path, tuned: Path) -> None:
    assert [stage.after for stage in passport(tuned).stages] == [(), (0,)]
    assert [one for one in roles(tuned) if one[1] == "trained"] == [
        *((0, "trained", f"p{n}") for n in range(4)),
        *((1, "trained", f"q{n}") for n in (1, 2)),
    ]
    assert audit_against([vois, other], tuned).seen.sum() == 6


def test_several_models(model: Path, tuned: Path, other: Path, tmp_path: Path) -> None:
    united = passport([model, tuned], out=tmp_path / "u.parquet")
    assert united.rows == passport(tuned).rows and len(united.stages) == 2
    with pytest.raises(PassportError, match="name --out"):
        passport([model, tuned])
    assert audit_against(other, [model, tuned]).seen.all()


def test_models_of_before(vois: Path, model: Path, other: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(model, old)
    (old / "fold_0" / "passport.parquet").unlink()
    with pytest.raises(PassportError, match="not there, though its checkpoint names it"):
        passport(old)
    file = old / "fold_0" / "checkpoint_final.pth"
    stored = read_checkpoint(file)
    del stored["uls_data"]["passport_sha256"]
    write_checkpoint(file, stored)
    assert load_model(old).record["lesions"]
    with pytest.raises(PassportError, match="no passport: not trained by uls-data, or before"):
        passport(old)
    further = run(other, tmp_path / "further", plan=None, init=old)
    assert [stage.kind for stage in passport(further).stages] == ["unknown", "train"]
    found = audit_against([vois, other], further)
    assert found.seen.sum() == 2 and found.untold.sum() == 6
    assert not passport([model, old], out=tmp_path / "u.parquet").complete


def test_a_changed_passport_is_refused(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "m")
    path = tmp_path / "m" / "fold_0" / "passport.parquet"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(PassportError, match="not the passport of this checkpoint"):
        passport(tmp_path / "m")


def test_commands(vois: Path, other: Path, model: Path, tuned: Path, tmp_path: Path) -> None:
    def called(of: Any, *words: object) -> tuple[int, str, str]:
        done = CliRunner().invoke(of, [str(word) for word in words], standalone_mode=False)
        assert done.exception is None or done.return_value is None, done.exception
        return done.return_value, done.stdout, done.stderr

    code, text, _ = called(command, tuned)
    assert code == 0 and "Stage 1: tiny (train), after stage 0" in text
    code, text, _ = called(command, tuned, "--json")
    header, *rows = map(json.loads, text.splitlines())
    assert header["complete"] and len(header["stages"]) == 2 and len(rows) == 8
    assert all(len(row["image_voxels_sha256"]) == 64 for row in rows)
    given = tmp_path / "given.parquet"
    code, text, _ = called(command, "--from", vois, "--out", given)
    assert code == 0 and f"audit M --against {given}" in text
    code, text, _ = called(audit_command, vois, "--against", model)
    assert code == 1 and "s p0_lesion_01_sample_0 annotated: same_voxels, same_series" in text
    code, text, _ = called(audit_command, other, "--against", model)
    assert code == 0 and "no row of its training" in text
    code, text, _ = called(audit_command, vois, "--against", given, "--json")
    assert code == 1 and len(text.splitlines()) == 6
    for words in ([], [model, "--from", vois], ["--from", vois]):
        assert CliRunner().invoke(command, [str(word) for word in words]).exit_code == 2
    refused = CliRunner().invoke(audit_command, [str(vois), "--against", str(given), "--voxels"])
    assert refused.exit_code == 2
