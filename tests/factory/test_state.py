"""The same command again: continues, redoes what changed, and leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from demo.files import write_itk, write_nifti
from uls_data.engine import run_tasks
from uls_data.errors import SourceError
from uls_data.factory import BuildReport, build
from uls_data.factory.options import Built
from uls_data.factory.state import State
from uls_data.io import atomic_write
from uls_data.manifest import load_manifest
from uls_data.recipe import recipe_template

CASES = ("a", "b", "c")


def put(raw: Path, case: str, lesions: int = 1, hu: int = 0) -> None:
    image = np.full((20, 18, 16), hu, dtype=np.int16)
    image[::2] += len(case) + sum(map(ord, case))
    mask = np.zeros(image.shape, dtype=np.uint8)
    mask[2:8, 3:9, 2:8] = lesions > 0
    mask[11:17, 3:9, 2:8] = lesions > 1
    affine = np.diag([0.8, 0.8, 2.5, 1.0])
    write_nifti(raw / "images" / f"{case}.nii", image, affine)
    write_nifti(raw / "masks" / f"{case}.nii", mask, affine)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for case in CASES:
        put(tmp_path / "raw", case, lesions=2 if case == "b" else 1)
    (tmp_path / "raw" / "mine.yaml").write_text(recipe_template("mine"), encoding="utf-8")
    return tmp_path / "raw"


def run(raw: Path, out: Path, **options: Any) -> BuildReport:
    return build(raw / "mine.yaml", raw, out, **options)


def redone(raw: Path, out: Path, **options: Any) -> list[str]:
    """Cases that a call rebuilds."""
    cases: list[str] = []
    run(raw, out, progress=lambda case, _: cases.append(case), **options)
    return sorted(cases)


def tree(out: Path) -> dict[str, str]:
    """Hash of every file, the build's own records included."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def times(out: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in sorted(out.rglob("*")) if p.is_file()}


def voi_files(out: Path) -> set[str]:
    return {path.name for path in out.rglob("*.nii.gz")}


def test_scans_that_come_later_give_the_bytes_of_a_clean_build(raw: Path, tmp_path: Path) -> None:
    out, clean = tmp_path / "out", tmp_path / "clean"
    run(raw, out)
    kept = {path: at for path, at in times(out).items() if path.endswith(".nii.gz")}
    for case in ("aa", "z"):
        put(raw, case, lesions=2)
    assert redone(raw, out) == ["aa", "z"]
    run(raw, clean)
    assert tree(out) == tree(clean)
    # Nothing of the others was rewritten.
    assert kept.items() <= times(out).items()


def test_second_call_does_nothing(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(raw, out)
    before = times(out)
    begun: list[tuple[int, int]] = []
    second = run(raw, out, started=lambda *counts: begun.append(counts))
    assert begun == [(3, 3)] and second.done_before == second.cases == 3
    assert times(out) == before
    assert second.rows == first.rows


def test_changed_input_redoes_its_case_alone(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out)
    before = times(out)
    put(raw, "b", lesions=1, hu=7)
    assert redone(raw, out) == ["b"]
    changed = {name for name, when in times(out).items() if before.get(name) != when}
    assert not any("a_lesion" in name or "c_lesion" in name for name in changed)
    assert not any("b_lesion_02" in name for name in voi_files(out))  # it has one lesion now
    run(raw, tmp_path / "fresh")
    assert tree(out) == tree(tmp_path / "fresh")


def test_touching_a_file_is_a_change(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out)
    os.utime(raw / "masks" / "c.nii", (1, 1))
    assert redone(raw, out) == ["c"]
    assert redone(raw, out) == []


def test_other_parameters_redo_all_and_leave_no_stale_file(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out, clicks=2)
    assert redone(raw, out, seed=5, clicks=1) == list(CASES)
    run(raw, tmp_path / "fresh", seed=5, clicks=1)
    assert tree(out) == tree(tmp_path / "fresh")
    assert redone(raw, out, seed=5, clicks=1, labels_only=True) == list(CASES)
    assert not list(out.rglob("images/*"))
    assert redone(raw, out, seed=5, profile="published", labels_only=True) == list(CASES)


def test_deleted_voi_is_rebuilt(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out)
    before = tree(out)
    (out / "mine/labels/annotated/b_lesion_02_sample_0.nii.gz").unlink()
    (out / "manifest/mine.parquet").unlink()
    assert redone(raw, out) == ["b"]
    assert tree(out) == before
    (out / "manifest/mine.parquet").unlink()
    assert redone(raw, out) == []
    assert tree(out) == before


def test_parts_of_one_build_add_up(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out, only=["c"])
    report = run(raw, out, limit=1)
    assert {row["case_id"] for row in report.rows} == {"a", "c"}  # the manifest keeps both
    assert redone(raw, out) == ["b"]
    run(raw, tmp_path / "fresh")
    assert tree(out) == tree(tmp_path / "fresh")


def test_parts_of_two_builds_do_not_mix(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out)
    before = times(out)
    for other in ({"seed": 1}, {"clicks": 2}, {"labels_only": True}, {"profile": "published"}):
        with pytest.raises(SourceError, match="other parameters"):
            run(raw, out, only=["a"], **other)
        with pytest.raises(SourceError, match="other parameters"):
            run(raw, out, limit=1, **other)
    assert times(out) == before


def test_a_changed_recipe_is_another_build(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out)
    text = recipe_template("mine").replace("at_least: 5", "at_least: 50")
    other = tmp_path / "other.yaml"
    other.write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match="another recipe"):
        build(other, raw, out, only=["a"])
    report = build(other, raw, out)
    assert (report.ok, report.skipped) == (0, 4) and voi_files(out) == set()


def test_a_removed_case_stays_until_it_is_pruned(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out)
    before = tree(out)
    for folder in ("images", "masks"):
        (raw / folder / "b.nii").unlink()
    report = run(raw, out)
    assert any("such as b" in note and "--prune" in note for note in report.notes)
    assert tree(out) == before
    report = run(raw, out, prune=True)
    assert any("b" in note and "were removed" in note for note in report.notes)
    assert set(load_manifest(out)["case_id"]) == {"a", "c"}
    run(raw, tmp_path / "fresh")
    assert tree(out) == tree(tmp_path / "fresh")


@pytest.mark.parametrize("left", [0, 1000])
def test_a_finished_file_that_was_cut_is_made_again(raw: Path, tmp_path: Path, left: int) -> None:
    out = tmp_path / "out"
    run(raw, out)
    before = tree(out)
    os.truncate(next((out / "mine/images").glob("b_*")), left)
    assert redone(raw, out) == ["b"]
    assert tree(out) == before


def test_leftovers_of_a_kill_are_removed(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(raw, out)
    before = tree(out)
    (out / ".uls-data/mine/.tmp-4711").write_bytes(b"half")
    attempt = out / "mine/.tmp-4711/8a9b"
    attempt.mkdir(parents=True)
    (attempt / "0").write_bytes(b"half")
    with suppress(RuntimeError), atomic_write(out / "manifest/mine.parquet") as half:
        half.write_bytes(b"half")
        shutil.copy(half, f"{half}1")  # as a process that was killed leaves it
        raise RuntimeError
    (out / "mine/images/own-notes.txt").write_bytes(b"the user's own file stays")
    assert redone(raw, out) == []
    (out / "mine/images/own-notes.txt").unlink()
    assert tree(out) == before


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"case_id": "a"}', b"\xff\xfe", b"null"])
@pytest.mark.parametrize("name", ["cases.jsonl", "rows.parquet"])
def test_a_damaged_record_counts_as_not_finished(
    raw: Path, tmp_path: Path, damage: bytes, name: str
) -> None:
    out = tmp_path / "out"
    run(raw, out, only=["a"], labels_only=True)
    before = tree(out)
    (out / ".uls-data" / "mine" / name).write_bytes(damage)
    assert redone(raw, out, only=["a"], labels_only=True) == ["a"]
    assert tree(out) == before


def test_damaged_lines_of_a_journal_do_not_count(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = run(raw, out, only=["a"], labels_only=True)
    before = tree(out)
    good = {"case_id": "a", "options_key": "o", "key": "k", "rows": report.rows}
    outside = {**report.rows[0], "label_path": "../victim.txt"}
    changes: list[Any] = [
        {"rows": None},
        {"rows": ["x"]},
        {"rows": [{}]},
        {"case_id": ["a"]},
        {"key": 3},
        {"rows": [{**report.rows[0], "status": "fine"}]},
        {"rows": [outside]},
    ]
    victim = tmp_path / "victim.txt"
    victim.write_text("not a VOI")
    for change in changes:
        journal = out / ".uls-data" / "mine" / "journal.jsonl"
        journal.write_text(json.dumps({**good, **change}) + "\n{half a li", encoding="utf-8")
        redone(raw, out, only=["a"], labels_only=True)
        assert tree(out) == before, change
        assert victim.exists()


@pytest.mark.parametrize("stop_after", [0, 1, 2])
def test_interruption_and_the_same_command_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    out = tmp_path / "out"

    def interrupted(*arguments: Any, **options: Any) -> Iterator[Any]:
        for at, result in enumerate(run_tasks(*arguments, **options)):
            if at == stop_after:  # built, but not yet recorded
                raise KeyboardInterrupt
            yield result

    with monkeypatch.context() as patch:
        patch.setattr("uls_data.factory.run.run_tasks", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(raw, out)
    assert not (out / "manifest/mine.parquet").exists()
    assert len(redone(raw, out)) == 3 - stop_after
    run(raw, tmp_path / "fresh")
    assert tree(out) == tree(tmp_path / "fresh")


def test_failed_case_is_tried_again_when_its_file_is_mended(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    good = (raw / "images/a.nii").read_bytes()
    (raw / "images/a.nii").write_bytes(good[:600])
    assert run(raw, out).failed == 1
    assert redone(raw, out) == []  # a failure is a result, too
    (raw / "images/a.nii").write_bytes(good)
    assert redone(raw, out) == ["a"]
    assert run(raw, out).failed == 0


def test_a_kill_between_the_files_of_two_builds_mixes_nothing(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files of other parameters are in place, their record is not: the first build must see it."""
    out = tmp_path / "out"
    run(raw, out)
    before = tree(out)

    def published_then_killed(state: State, case: str, built: Built, own: set[str]) -> None:
        publish(state, case, built, own)
        raise KeyboardInterrupt

    publish = State.publish
    with monkeypatch.context() as patch:
        patch.setattr(State, "publish", published_then_killed)
        with pytest.raises(KeyboardInterrupt):
            run(raw, out, seed=9)
    assert redone(raw, out) == ["a"]
    assert tree(out) == before


def test_a_failure_that_may_not_be_the_case_s_own_is_tried_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    for error, reason in (
        (PermissionError(13, "no"), "io_error"),
        (MemoryError(), "out_of_memory"),
    ):
        with monkeypatch.context() as patch:

            def refuses(*_: Any, raised: BaseException = error, **__: Any) -> None:
                raise raised

            patch.setattr("uls_data.volumes.read.read_nifti", refuses)
            assert {row["reason"] for row in run(raw, out).rows} == {reason}
    assert redone(raw, out) == list(CASES)
    assert run(raw, out).failed == 0


def test_a_change_of_the_voxel_file_behind_a_header_is_a_change(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for case in CASES:
        (raw / "masks" / f"{case}.nii").unlink()
        mask = np.zeros((20, 18, 16), dtype=np.uint8)
        mask[2:8, 3:9, 2:8] = 1
        write_itk(raw / "masks" / f"{case}.mhd", mask, np.diag([0.8, 0.8, 2.5, 1.0]))
    run(raw, out)
    assert redone(raw, out) == []
    os.utime(raw / "masks" / "b.raw", (1, 1))
    assert redone(raw, out) == ["b"]
