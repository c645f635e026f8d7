"""A calibration of your own, from full masks to a build that uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from makers.shared import Shared

from uls_data import build, calibrate
from uls_data.errors import ManifestError, SourceError
from uls_data.pseudomask.quality import Quality


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, shared: Shared) -> Path:
    folder = tmp_path_factory.mktemp("calibration")
    shared.vois(folder / "vois", "kits21", "lits", "mdsc_lung", "mdsc_colon")
    return folder


@pytest.fixture(scope="module")
def raw(shared: Shared) -> Path:
    return shared.raw("deeplesion")


def test_it_is_learned_and_used(folder: Path, raw: Path) -> None:
    path = folder / "quality.json"
    found = calibrate(folder / "vois", path, draws=1)
    assert found.patients >= 5
    assert 0 <= found.error < 0.2
    text = path.read_text(encoding="utf-8")
    assert Quality.from_json(text).names == found.quality.names
    assert str(found.masks) in json.loads(text)["source"]
    again = calibrate(folder / "vois", folder / "again.json", draws=1, workers=2)
    assert again.error == found.error
    assert (folder / "again.json").read_bytes() == path.read_bytes()
    own = build("deeplesion", raw, folder / "own", masks=["jury"], calibration=path)
    shipped = build("deeplesion", raw, folder / "shipped", masks=["jury"])
    pairs = [(a, b) for a, b in zip(own.rows, shipped.rows, strict=True) if a["status"] == "ok"]
    assert pairs
    for a, b in pairs:
        assert a["label_voxels_sha256"] == b["label_voxels_sha256"]
        assert 0 < a["predicted_dice"] <= 1
    assert any(a["predicted_dice"] != b["predicted_dice"] for a, b in pairs)


def test_what_cannot_be_used_is_said_before_any_work(
    folder: Path, raw: Path, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match="patients"):
        calibrate(folder / "vois" / "manifest" / "kits21.parquet", tmp_path / "q.json", draws=0)
    for text in ("", "{}", "[1]", '{"names": ["a"], "mean": [1e999]}', "\x00"):
        bad = tmp_path / "bad.json"
        bad.write_text(text, encoding="utf-8")
        with pytest.raises(SourceError, match="--calibration"):
            build("deeplesion", raw, tmp_path / "out", calibration=bad)
    assert not (tmp_path / "out").exists()
