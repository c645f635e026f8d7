"""A stranger's folder is triaged and reported with two commands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from makers.raw_folders import state, write_nnunet_raw

from uls_data.cli import main


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ULS_DATA_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return write_nnunet_raw(tmp_path / "nnUNet_raw/Dataset007_Mine")


def uls(*arguments: object) -> object:
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


def test_report(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state(raw)
    given = ("--values", "2", "--cache", raw.parent / "kept")
    assert uls("report", raw, *given) == 0
    said = capsys.readouterr()
    assert "Report of dataset007_mine" in Path("dataset007_mine-report.html").read_text()
    again = " ".join(map(str, ("uls-data triage", raw, *given)))
    assert f"Next: {again} --list" in said.out
    assert "has no manifest" in said.err and "touch by their faces are a lesion" in said.err
    assert "6 VOIs, 0 skipped and 0 failed rows; kept in" in said.err
    assert uls("report", raw, "--to", raw / "mine.html") == 2
    assert "nothing is written there" in capsys.readouterr().err
    assert state(raw) == before


def test_triage(raw: Path) -> None:
    before = state(raw)
    command = [sys.executable, "-m", "uls_data", "triage", str(raw), "--json", "--limit", "2"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    folder, told = (json.loads(server.stdout.readline()) for _ in range(2))
    assert folder["kind"] == "folder" and told["vois"] == 3
    base, token = told["address"].split("/?token=")
    headers = {"Cookie": "", "Content-Type": "application/json"}
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(told["address"]).read()
    body = json.dumps({"numbers": [0], "word": "rejected", "note": "leaks"}).encode()
    headers = {"Content-Type": "application/json", "Origin": base}
    request = urllib.request.Request(f"{base}/api/verdicts", body, headers)
    opener.open(request).read()
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0 and token
    (one,) = yaml.safe_load(Path("dataset007_mine-triage.yaml").read_text())["corrections"]
    assert one["kind"] == "drop" and one["reason"] == "leaks"
    assert state(raw) == before
    # The verdicts go with the VOIs that were seen.
    assert uls("errata", "check", "dataset007_mine-triage.yaml", "--manifest", folder["vois"]) == 0


def test_what_does_not_go_together(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert uls("triage", raw, "--values", "two") == 2
    assert "expected whole numbers" in capsys.readouterr().err
    assert uls("triage", raw, "--overlay", raw / "verdicts.yaml") == 2
    assert "nothing is written there" in capsys.readouterr().err
    for name in ("values", "limit", "cache"):
        assert uls("report", "uls23", f"--{name}", "1") == 2
        assert f"--{name} is for folders without a manifest" in capsys.readouterr().err
    # A build that was interrupted is not raw data.
    Path("vois/.uls-data").mkdir(parents=True)
    assert uls("report", "vois") == 2
    assert "holds no .parquet file" in capsys.readouterr().err
    for path in (raw / "labelsTr").iterdir():
        path.write_bytes(b"no volume")
    assert uls("report", raw) == 2
    assert "Traceback" not in capsys.readouterr().err
