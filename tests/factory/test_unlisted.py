"""Folders and files that cannot be read for a while: their cases fail, nothing is removed."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.archives import KINDS
from makers.own_lines import write_recipe
from makers.rights import hidden, without_root
from makers.shared import linked

from demo.files import write_nifti
from uls_data.errors import SourceError
from uls_data.factory import BuildReport, build
from uls_data.factory.options import Built
from uls_data.factory.state import State
from uls_data.manifest.parquet import iterate_rows
from uls_data.outcome import Reason
from uls_data.recipe import load_recipe, recipe_template
from uls_data.sources.find import find_cases
from uls_data.sources.open import open_case


def run(raw: Path, out: Path, **options: Any) -> BuildReport:
    with without_root():
        return build(raw / "mine.yaml", raw, out, **options)


def put(path: Path, voxels: Any) -> None:
    write_nifti(path, voxels, np.diag([0.8, 0.8, 2.5, 1.0]))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a raw archive and of what was built of it."""
    folder = tmp_path_factory.mktemp("original")
    root = folder / "raw"
    image = np.arange(20 * 18 * 16, dtype=np.int16).reshape(20, 18, 16) % 100
    mask = np.zeros(image.shape, dtype=np.uint8)
    mask[2:8, 3:9, 2:8] = 1
    for case in ("a", "b", "c"):
        put(root / case / "image" / "ct.nii", image)
        put(root / case / "mask" / "lesion.nii", mask)
    text = recipe_template("mine")
    text = text.replace("images/{case}{ext}", "{case}/image/ct{ext}")
    text = text.replace("masks/{case}{ext}", "{case}/mask/lesion{ext}")
    (root / "mine.yaml").write_text(text, encoding="utf-8")
    run(root, folder / "out")
    return folder


@pytest.fixture
def raw(original: Path, tmp_path: Path) -> Path:
    """A copy keeps sizes and times: to a build it is the archive itself."""
    return Path(shutil.copytree(original / "raw", tmp_path / "raw"))


def rows(out: Path) -> list[tuple[str, str, str | None]]:
    found = iterate_rows(out / "manifest" / "mine.parquet")
    return [(row["case_id"], row["status"], row["reason"]) for row in found]


def files(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*.nii.gz"))}


OK = [(case, "ok", None) for case in "abc"]
UNLISTED = "folder_unreadable"


@pytest.fixture
def built(original: Path, tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    out = linked(original / "out", tmp_path / "out")
    before = files(out)
    assert rows(out) == OK and len(before) == 6
    return out, before


@pytest.mark.parametrize("name", ["b", "b/mask", "b/image"])
def test_a_folder_that_cannot_be_listed(
    raw: Path, tmp_path: Path, built: tuple[Path, dict[str, bytes]], name: str
) -> None:
    out, before = built
    failed = [(case, "failed", UNLISTED) for case in sorted({"b", name})]
    with hidden(raw / name):
        for _ in range(2):
            assert run(raw, out).failed == len(failed)
            assert [row for row in rows(out) if row[1] == "failed"] == failed
            assert [row for row in rows(out) if row[1] == "ok"] == OK
            assert files(out) == before
        # A first build cannot know what lies in it, and says that there is something.
        run(raw, tmp_path / "first")
        assert [row for row in rows(tmp_path / "first") if row[1] != "ok"] == failed
    assert run(raw, out).failed == 0
    assert rows(out) == OK and files(out) == before


def test_a_folder_whose_files_cannot_be_opened(
    raw: Path, built: tuple[Path, dict[str, bytes]]
) -> None:
    out, before = built
    with hidden(raw / "b" / "image", 0o644):  # listed, not entered
        assert run(raw, out).failed == 1
        assert ("b", "failed", "io_error") in rows(out)
        assert [row for row in rows(out) if row[1] == "ok"] == OK and files(out) == before
    run(raw, out)
    assert rows(out) == OK and files(out) == before


def test_other_parameters_are_not_mixed_with_what_is_kept(
    raw: Path, built: tuple[Path, dict[str, bytes]]
) -> None:
    out, _ = built
    with hidden(raw / "b"):
        run(raw, out, seed=5)
    assert [row for row in rows(out) if row[0] == "b"] == [("b", "failed", UNLISTED)]


def test_one_case_alone_leaves_the_hidden_ones_as_they_are(
    raw: Path, built: tuple[Path, dict[str, bytes]]
) -> None:
    out, _ = built
    with hidden(raw / "b"):
        assert run(raw, out, only=["a"]).failed == 0
    assert rows(out) == OK


def test_prune_removes_nothing_while_files_cannot_be_read(tmp_path: Path) -> None:
    """A series none of whose files can be opened is not known to be gone."""
    recipe = KINDS["lidc"].make(tmp_path / "archive")
    raw, out = recipe.parent / "raw", tmp_path / "out"
    build(recipe, raw, out, labels_only=True)
    before = files(out)
    (out / ".uls-data" / "mine" / "dicom-headers.jsonl").unlink()  # which remembers the slices
    with ExitStack() as stack:
        for path in (raw / "patient_2" / "ct").iterdir():
            stack.enter_context(hidden(path))
        with without_root():
            report = build(recipe, raw, out, labels_only=True, prune=True)
    assert files(out) == before and len(before) == 9
    assert {row["reason"] for row in report.rows if row["status"] == "failed"} == {"io_error"}
    assert "nothing is removed" in report.notes[0]
    shutil.rmtree(raw / "patient_2")
    build(recipe, raw, out, labels_only=True, prune=True)
    assert len(files(out)) == 6


def test_files_of_viewers_that_cannot_be_opened_are_failed_cases(tmp_path: Path) -> None:
    KINDS["ccc18"].make(tmp_path / "archive")
    raw = tmp_path / "archive" / "raw"
    points = [{"position": [0.0, 0.0, float(at)]} for at in range(2)]
    line = {"type": "Line", "coordinateSystem": "LPS", "controlPoints": points}
    for name in ("L.mrk.json", "x.xml", "y.json"):
        (raw / "patient_1" / name).write_text(json.dumps({"markups": [line]}))
    recipe = write_recipe(raw / "own.yaml", case="patient_[0-9]", objects=["markups", "aim"])
    with ExitStack() as stack:
        for path in (raw / "patient_1").glob("*.*"):
            stack.enter_context(hidden(path))
        with without_root():
            found = find_cases(load_recipe(str(recipe)).recipe, raw)
    failed = {case.annotations: case.problem[0] for case in found if case.problem}
    assert {paths[0].name for paths in failed if paths} == {"L.mrk.json", "x.xml", "y.json"}
    assert {reason for paths, reason in failed.items() if paths} == {Reason.IO_ERROR}


def test_all_folders_hidden(raw: Path, built: tuple[Path, dict[str, bytes]]) -> None:
    out, before = built
    with (
        hidden(raw / "a"),
        hidden(raw / "b"),
        hidden(raw / "c"),
        pytest.raises(SourceError, match=r"cannot be listed: a \(Permission denied\), b"),
    ):
        run(raw, out)
    assert rows(out) == OK and files(out) == before


def test_what_a_killed_run_left_is_no_other_case_s(
    raw: Path, built: tuple[Path, dict[str, bytes]]
) -> None:
    out, before = built
    for name in ("manifest", ".uls-data"):
        shutil.rmtree(out / name)
    assert len(list(out.rglob("*.jpg"))) == 3
    assert run(raw, out).failed == 0
    assert rows(out) == OK and files(out) == before


def test_two_cases_that_share_a_name_stop_the_build(tmp_path: Path) -> None:
    """Weak names hold no lesion number: that of a second lesion may be another case's name."""
    state = State(tmp_path, "mine")
    state.load()

    def publish(case_id: str, own: set[str]) -> None:
        folder = tmp_path / "waiting"
        folder.mkdir()
        (folder / "0").write_bytes(case_id.encode())
        state.publish(case_id, Built([], folder, ("mine/images/a.nii.gz",)), own)

    publish("a", set())
    with pytest.raises(SourceError, match="two cases have a VOI of that name, b and another"):
        publish("b", set())
    assert (tmp_path / "mine" / "images" / "a.nii.gz").read_bytes() == b"a"


def test_files_that_go_while_a_case_is_opened_are_tried_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, away = tmp_path / "out", tmp_path / "away"

    def unplugged(*arguments: Any, **options: Any) -> Any:
        (raw / "b").rename(away)
        return open_case(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr("uls_data.factory.case.open_case", unplugged)
        run(raw, out, only=["b"])
    assert rows(out) == [("b", "failed", "changed_while_read")]
    away.rename(raw / "b")
    run(raw, out)
    assert rows(out) == OK


@pytest.mark.parametrize("options", [{}, {"prune": True}, {"labels_only": True}])
def test_a_mount_that_is_lost_is_no_empty_archive(
    raw: Path, built: tuple[Path, dict[str, bytes]], options: dict[str, Any]
) -> None:
    """What stays of a mount is an empty folder: nothing is taken from it, not even by --prune."""
    out, before = built
    away = raw.with_name("mounted")
    raw.rename(away)
    raw.mkdir()
    shutil.copy(away / "mine.yaml", raw)  # the recipe itself lies elsewhere, mostly
    with pytest.raises(SourceError, match="no case of mine found"):
        run(raw, out, **options)
    assert rows(out) == OK and files(out) == before
    shutil.rmtree(raw)
    away.rename(raw)
    run(raw, out)
    assert rows(out) == OK and files(out) == before


def test_a_mount_below_the_root_that_is_lost(
    raw: Path, built: tuple[Path, dict[str, bytes]]
) -> None:
    """Of one case an empty folder is left: its VOIs stay, and the same command says so."""
    out, before = built
    for folder in ("image", "mask"):
        (raw / "b" / folder).rename(raw / f".{folder}")
        (raw / "b" / folder).mkdir()
    report = run(raw, out)
    assert any("--prune" in note for note in report.notes)
    assert files(out) == before
    for folder in ("image", "mask"):
        (raw / "b" / folder).rmdir()
        (raw / f".{folder}").rename(raw / "b" / folder)
    run(raw, out)
    assert rows(out) == OK and files(out) == before
