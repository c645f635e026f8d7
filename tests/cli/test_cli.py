"""The command line: exit codes, what goes to which stream, and that help helps."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from makers.commands import commands

from demo.sources import make_archives
from uls_data import __version__
from uls_data.cli import main


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("raw")
    return make_archives(root, only=["own", "radboudumc_pancreas"])


@pytest.fixture(scope="module")
def built(archives: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    raw = archives["radboudumc_pancreas"]
    with pytest.raises(SystemExit) as caught:
        main(["build", "radboudumc_pancreas", "--raw", str(raw), "--out", str(out)])
    assert caught.value.code == 0
    return out


def test_help_and_version(uls: Any) -> None:
    whole = uls("--help")
    assert whole.code == 0
    for name in ("recipe", "build", "index", "query", "stats", "Exit"):
        assert name in whole.out
    assert uls("--version").out.strip().endswith(__version__)


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_help_of_every_command_has_an_example(uls: Any, name: str) -> None:
    result = uls(*name.split(), "--help")
    assert result.code == 0
    assert "Example" in result.out and f"uls-data {name}" in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ["nonsense"]),
        (["build"], ["NAME|FILE"]),
        (["build", "kits21", "--raw", "x"], ["--out"]),
        (["build", "kits", "--raw", "x", "--out", "y"], ["kits", "Did you mean kits2"]),
        (["build", "kits21", "--raw", "absent", "--out", "y"], ["--raw absent", "no such folder"]),
        (["build", "kits21", "--raw", ".", "--out", "y", "--profile", "best"], ["published"]),
        (["build", "kits21", "--raw", ".", "--out", "y", "--workers", "many"], ["many"]),
        (["build", "kits21", "--raw", ".", "--out", "y", "--clicks", "0"], ["--clicks"]),
        (["build", "ccc18", "--raw", ".", "--out", "y"], ["--raw .", "expected one table"]),
        (["index", "absent", "--out", "m"], ["absent"]),
        (["query", "absent", "status == 'ok'"], ["absent"]),
        (["stats", "absent"], ["absent"]),
        (["stats"], ["M..."]),
        (["recipe", "show", "litz"], ["litz", "Did you mean lits"]),
        (["recipe", "check", "absent.yaml"], ["absent.yaml"]),
        (["recipe", "new", "Not A Name"], ["lower-case"]),
    ],
    ids=lambda value: " ".join(value)[:50],
)
def test_wrong_use_is_exit_code_2(
    uls: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    result = uls(*arguments)
    assert result.code == 2
    said = result.err + (result.out if arguments[:2] == ["recipe", "check"] else "")
    for word in words:
        assert word in said
    assert list(tmp_path.iterdir()) == []


def test_recipe_list_and_show(uls: Any) -> None:
    plain = uls("recipe", "list")
    assert plain.code == 0 and "kits21" in plain.out and plain.err == ""
    recipes = uls("recipe", "list", "--json").json()
    assert len(recipes) > 30 and {"source", "licence", "reader"} <= recipes[0].keys()
    shown = uls("recipe", "show", "lits", "--quirks")
    for part in (
        "Licence: ",
        "Get it:",
        "Held-out patients: 9",
        "832 lesions",
        "image_affine_wins",
    ):
        assert part in shown.out
    assert uls("recipe", "show", "lits", "--json").json()[0]["recipe_sha256"]


def test_recipe_new_and_check(uls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert uls("recipe", "new", "mine").code == 0
    text = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert "source: mine" in text
    assert uls("recipe", "check", "mine.yaml").code == 0
    again = uls("recipe", "new", "mine")
    assert again.code == 2 and "--force" in again.err
    assert uls("recipe", "new", "mine", "--force", "--from", "lits").code == 0
    assert "source: mine" in (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    (tmp_path / "wrong.yaml").write_text(text.replace("title:", "titel:"), encoding="utf-8")
    wrong = uls("recipe", "check", "wrong.yaml")
    assert wrong.code == 2 and "Did you mean title?" in wrong.out + wrong.err
    problems = uls("recipe", "check", "wrong.yaml", "--json")
    assert problems.code == 2 and all("problem" in line for line in problems.json())


def test_a_build_with_nothing_to_do_starts_lightly(built: Path, archives: Any) -> None:
    """pandas alone would take longer than all the rest; Arrow's groups and filters import it."""
    code = (
        "import sys; from uls_data.cli import main\n"
        "try:\n    main()\nfinally:\n    print(*sys.modules)"
    )
    raw = archives["radboudumc_pancreas"]
    command = ["build", "radboudumc_pancreas", "--raw", str(raw), "--out", str(built)]
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )
    assert "Nothing to do" in done.stdout
    assert not {"pandas", "scipy", "pyarrow.compute"} & set(done.stdout.split("\n")[-2].split())


def test_build_query_stats_and_index(uls: Any, built: Path, archives: Any, tmp_path: Path) -> None:
    raw = archives["radboudumc_pancreas"]
    again = uls("build", "radboudumc_pancreas", "--raw", raw, "--out", built)
    assert again.code == 0 and "Nothing to do" in again.out and "uls-data stats" in again.out
    rows = uls("build", "radboudumc_pancreas", "--raw", raw, "--out", built, "--json").json()
    assert len(rows) == 3 and {row["status"] for row in rows} == {"ok"}

    found = uls("query", built, 'status == "ok" and long_axis_vox > 25', "--json")
    assert found.code == 0
    assert [row["case_id"] for row in found.json()] == [
        row["case_id"] for row in rows if row["long_axis_vox"] > 25
    ]
    assert uls("query", built, "--columns", "voi_id", "--json").json() == [
        {"voi_id": row["voi_id"]} for row in rows
    ]
    lines = list(csv.DictReader(io.StringIO(uls("query", built, "--csv").out)))
    assert [line["voi_id"] for line in lines] == [row["voi_id"] for row in rows]
    shown = uls("query", built)
    assert rows[0]["voi_id"] in shown.out and "3 rows" in shown.err
    bad = uls("query", built, "colour == 3")
    assert bad.code == 2 and "colour" in bad.err and bad.out == ""

    (one,) = uls("stats", built, "--json").json()
    assert (one["lesions"], one["series"], one["heldout"]) == (3, 3, 1)
    assert one["long_mean"] == pytest.approx(sum(row["long_axis_vox"] for row in rows) / 3)
    assert "held-out" in uls("stats", built, "--by", "lesion_type").out

    manifest = tmp_path / "index.parquet"
    archive = built / "radboudumc_pancreas"
    lines_ = uls("index", archive, "--source", "radboudumc_pancreas", "--out", manifest, "--json")
    assert lines_.code == 0
    hashes = {row["voi_id"]: row["label_voxels_sha256"] for row in lines_.json()}
    frame = uls("query", built, "--columns", "voi_id,label_voxels_sha256", "--json").json()
    assert hashes == {row["voi_id"]: row["label_voxels_sha256"] for row in frame}
    human = uls("index", archive, "--out", manifest)
    assert human.code == 0 and "3 rows, 0 failed" in human.out


def test_failed_cases_are_exit_code_1(uls: Any, archives: Any, tmp_path: Path) -> None:
    raw = archives["own"]
    arguments = ["build", raw / "own.yaml", "--raw", raw, "--out", tmp_path / "out"]
    arguments += ["--only", "p04_visit1", "--only", "p05_visit1"]
    first = uls(*arguments)
    assert first.code == 1
    assert "p04_visit1: not_3d" in first.err and "failed   not_3d" in first.out
    rows = uls(*arguments, "--json")
    assert rows.code == 1  # and again, where nothing is left to do
    assert {row["case_id"]: row["reason"] for row in rows.json()}["p04_visit1"] == "not_3d"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "bone_00001_lesion_01.nii.gz").write_bytes(b"")
    index = uls("index", tmp_path / "bad", "--out", tmp_path / "m.parquet")
    assert index.code == 1 and "truncated_file" in index.err


def test_dry_run(uls: Any, archives: Any, tmp_path: Path) -> None:
    raw = archives["own"]
    arguments = ("build", raw / "own.yaml", "--raw", raw, "--out", tmp_path / "out", "--dry-run")
    plain = uls(*arguments)
    assert plain.code == 0 and "nothing was written" in plain.err and "p01_visit1" in plain.out
    rows = uls(*arguments, "--json").json()
    assert [row["case_id"] for row in rows][:2] == ["p01_visit1", "p02_visit1"]
    assert len(rows) == 6
    assert not (tmp_path / "out").exists()


def test_a_mistyped_command_and_word_are_told(uls: Any, built: Path) -> None:
    wrong = uls("buid")
    assert wrong.code == 2 and "Did you mean build?" in wrong.err
    for expression in ('lesion_type == "kidny"', ' lesion_type == "kidny"'):
        none = uls("query", built, expression)
        assert none.code == 0 and "Did you mean kidney?" in none.err
    assert "Did you mean" not in uls("query", built, 'lesion_type == "bone"').err


def test_commands_that_the_template_names_work(
    uls: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DIR").mkdir()
    assert uls("recipe", "new", "my_lesions").code == 0
    text = (tmp_path / "my_lesions.yaml").read_text(encoding="utf-8")
    named = re.findall(r"uls-data ((?:[\w./-]+ ?)+)", text)
    assert len(named) >= 3
    for command in named:
        found = uls(*command.split())
        # There is nothing to build yet, which is about DIR, not about the command.
        wanted = 2 if command.startswith("build") else 0
        assert found.code == wanted and "Usage" not in found.err, (command, found.err)
        assert wanted == 0 or "--raw DIR: no case of my_lesions found" in found.err


def test_quirks_need_no_recipe(uls: Any) -> None:
    found = uls("recipe", "show", "--quirks")
    assert found.code == 0 and "image_affine_wins: " in found.out
    assert {row["quirk"] for row in uls("recipe", "show", "--quirks", "--json").json()} >= {
        "float_mask"
    }
    missing = uls("recipe", "show")
    assert missing.code == 2 and "NAME|FILE" in missing.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    """As docs/reference/commands.md sets it up."""
    command = [sys.executable, "-c", "from uls_data.cli import main; main()"]

    def complete(words: str, at: int) -> set[str]:
        said = {
            "_ULS_DATA_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": words.split()[-1] if shell == "fish" else str(at),
        }
        run = subprocess.run(command, env={**os.environ, **said}, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return set(re.split(r"[\n,\t]", run.stdout))

    assert "report" in complete("uls-data rep", 1)
    assert "--profile" in complete("uls-data build --pro", 2)
    source = {**os.environ, "_ULS_DATA_COMPLETE": f"{shell}_source"}
    run = subprocess.run(command, env=source, capture_output=True, text=True)
    assert run.returncode == 0 and "_ULS_DATA_COMPLETE" in run.stdout
