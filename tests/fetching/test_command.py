"""`uls-data fetch` as a user sees it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from makers.idc import made_series
from makers.store import Proxy, Spoil, flipped

from demo.idc import Store, write_pinned
from uls_data.cli import main
from uls_data.fetching import downloading

SERIES = made_series(3)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def recipe(tmp_path: Path, store: Store, line: Proxy) -> Path:
    store.put_series(SERIES)
    return write_pinned(tmp_path / "recipe", SERIES)


def test_a_plan_and_a_download(
    tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    assert run("fetch", recipe, "--raw", raw, "--dry-run") == 0
    out, err = capsys.readouterr()
    assert "lesions: 3 series (3 CT), 0.000 GB, of 2 cases.\n  licence CC BY 4.0: 3\n" in out
    assert "To fetch: 3 series (3 CT), 0.000 GB" in out and "GB free, enough for the" in out
    assert "does not say which series are even" in out and "Nothing was touched." in err
    assert not raw.exists()
    assert run("fetch", recipe, "--raw", raw, "--limit", 1) == 0
    assert re.search(r"Fetched in \d+ s: 2 series \(2 CT\)", capsys.readouterr().out)
    assert run("fetch", recipe, "--raw", raw) == 0
    out, _ = capsys.readouterr()
    assert "There already: 2 series" in out and ": 1 series (1 CT)" in out
    assert f"Next: uls-data build {recipe} --raw {raw}" in out


def test_json(tmp_path: Path, recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("fetch", recipe, "--raw", tmp_path / "raw", "--only", "P-4001", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["series", "total"]
    assert lines[0] == {
        "source": "lesions",
        "kind": "series",
        "case_id": "P-4001",
        "path": "P-4001/1.2/CT_1.2.2",
        "url": "s3://idc-open-data/00000000-0000-4001-8000-000000000002",
        "licence": "CC BY 4.0",
        "files": 3,
        "size_bytes": 3006,
        "even": None,
        "outcome": "fetched",
        "reason": None,
        "detail": None,
    }
    assert lines[1]["outcomes"] == {"fetched": 1} and lines[1]["size_bytes"] == 3006


def test_what_fails_is_named(
    tmp_path: Path, recipe: Path, line: Proxy, capsys: pytest.CaptureFixture[str]
) -> None:
    line.spoil["4001.*0001"] = Spoil(flipped, 100)
    assert run("fetch", recipe, "--raw", tmp_path / "raw") == 1
    out, err = capsys.readouterr()
    assert "Failed: 1 series (1 CT)" in out and "run the same command again" in out
    assert "P-4001/1.2/CT_1.2.2: damaged: s3://idc-open-data/" in err and "MD5" in err


def test_geometry_is_told_before_anything_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    why = "uneven steps between slices"
    recipe = write_pinned(tmp_path / "recipe", SERIES, even=False, uneven_because=why)
    assert run("fetch", recipe, "--raw", tmp_path / "raw", "--dry-run") == 0
    out, err = capsys.readouterr()
    assert "of 3 series that the IDC checked, 3 (0.000 GB) are not even stacks" in out
    assert "--even-only leaves them out" in out
    assert f"P-4000/1.2/CT_1.2.0: {why}" in err
    assert run("fetch", recipe, "--raw", tmp_path / "raw", "--even-only") == 0
    assert "Left out by --even-only: 3 series" in capsys.readouterr().out


def test_wrong_use(
    tmp_path: Path,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("fetch", "lits", "--raw", tmp_path) == 2
    assert "pins nothing that could be fetched. How to get it:" in capsys.readouterr().err
    monkeypatch.setattr(downloading, "_free", lambda _: 1000)
    assert run("fetch", recipe, "--raw", tmp_path / "raw", "--dry-run") == 0
    assert "TOO FEW" in capsys.readouterr().out
    assert run("fetch", recipe, "--raw", tmp_path / "raw") == 2
    assert "Name a larger disk" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    monkeypatch.undo()
    assert run("fetch", recipe, "--raw", tmp_path / "file") == 2
    assert "is not a folder" in capsys.readouterr().err
