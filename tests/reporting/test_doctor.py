"""`doctor` tells what is there, and what is not."""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path

import pytest
from click.testing import CliRunner

from uls_data.cli.doctor import command
from uls_data.reporting import doctor as module
from uls_data.reporting.doctor import doctor


def test_this_machine(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--out", str(tmp_path / "not" / "yet"), "--json"])
    found = {line["what"]: line for line in map(json.loads, result.stdout.splitlines())}
    assert set(found) >= {"program", "packages", "extra network", "processors", "memory", "disk"}
    assert f"numpy {metadata.version('numpy')}" in found["packages"]["found"]
    assert str(len(os.sched_getaffinity(0))) in found["processors"]["found"]
    assert result.exit_code == any(line["state"] == "bad" for line in found.values())
    text = CliRunner().invoke(command, []).stdout
    assert all(line["what"] in text for line in found.values())


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(
        metadata, "requires", lambda _: ["numpy>=1", "no-such-package>=2; python_version>'3'"]
    )
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    monkeypatch.setattr(module, "free_memory", lambda: 1 << 30)
    found = {(finding.what, finding.state): finding for finding in doctor(tmp_path)}
    assert "no-such-package" in found["packages", "bad"].found
    assert "uls-data[network]" in found["extra network", "missing"].advice
    assert "one at a time" in found["memory", "slow"].advice
