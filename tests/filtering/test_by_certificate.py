"""`filter --certificate`: what meets it is kept, the rest says why not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from makers.certified import write_certificate, write_pseudo

from uls_data import filter
from uls_data.cli import main
from uls_data.errors import ManifestError
from uls_data.io import sha256_file
from uls_data.manifest.expected import expected_dice
from uls_data.manifest.parquet import iterate_rows, write_manifest

OTHER: dict[str, Any] = {"layer": "jury", "supervision": "weak_2d"}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pseudo(tmp_path_factory.mktemp("new"), range(12))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("c") / "c.json")


def test_what_meets_it_is_kept(manifest: Path, certificate: Path, tmp_path: Path) -> None:
    out = tmp_path / "manifest" / "kept.parquet"
    report = filter(manifest, out, certificate=certificate)
    rows = [row for row in iterate_rows(out) if row["layer"] == "pseudo3d-r1"]
    kept = [row for row in rows if row["status"] == "ok"]
    assert (report.kept, report.removed) == (len(kept), 12 - len(kept))
    assert 0 < len(kept) < 12 and report.full == 12
    assert {row["certificate"] for row in rows} == {sha256_file(certificate)}
    for row in rows:
        expected = expected_dice(row)
        assert expected is not None and row["certified"] == (expected >= 0.75)
        assert row["certified"] == (row["status"] == "ok")
        if not row["certified"]:
            assert row["reason"] == "filtered"
            assert row["detail"] == f"certificate: expected Dice {expected:.3f}, kept from 0.750"
    truth = [row for row in iterate_rows(out) if row["layer"] == "annotated"]
    assert all(row["certified"] is None and row["certificate"] is None for row in truth)
    assert all(expected_dice(row) == 1 for row in truth)
    assert (out.parent.parent / str(rows[0]["label_path"])).is_file()


def test_filtered_rows_are_judged_anew(manifest: Path, certificate: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    filter(manifest, one, rule="mask_voxels > 1000000")
    again = filter(one, two, certificate=certificate)
    assert again == filter(manifest, tmp_path / "three.parquet", certificate=certificate)
    strict = write_certificate(tmp_path / "strict.json", threshold=0.999)
    assert filter(two, two, certificate=strict).kept == 0
    assert len({row["certificate"] for row in iterate_rows(two)}) == 2  # None: the full masks


def test_other_layers_stay_as_they_are(manifest: Path, certificate: Path, tmp_path: Path) -> None:
    rows = list(iterate_rows(manifest))
    flat = [{**row, **OTHER} for row in rows if row["layer"] == "pseudo3d-r1"]
    folder = manifest.parent
    both = folder / "both.pq"
    write_manifest([*rows, *flat], both)
    filter(both, folder / "out.pq", certificate=certificate)
    jury = [row for row in iterate_rows(folder / "out.pq") if row["layer"] == "jury"]
    assert len(jury) == 12 and all(row["status"] == "ok" for row in jury)
    assert all(row["certified"] is None for row in jury)


def test_no_other_rule_goes_with_it(manifest: Path, certificate: Path, tmp_path: Path) -> None:
    for more in ({"rule": "paper"}, {"max_axis_error_vox": 5.0}):
        with pytest.raises(ManifestError, match="cannot be combined with another rule"):
            filter(manifest, tmp_path / "out.parquet", certificate=certificate, **more)  # type: ignore[arg-type]
    with pytest.raises(ManifestError, match="not a certificate"):
        filter(manifest, tmp_path / "out.parquet", certificate=manifest)
    assert not (tmp_path / "out.parquet").exists()


def test_command(certificate: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    thick = write_pseudo(tmp_path / "new", range(100, 106), truth=False, spacing_z_mm=4.0)
    words = ["filter", "--manifest", str(thick), "--out", str(tmp_path / "out.parquet")]
    with pytest.raises(SystemExit) as end:
        main([*words, "--certificate", str(certificate), "--json"])
    said = capsys.readouterr()
    assert end.value.code == 0
    assert json.loads(said.out.splitlines()[0])["name"] == "certificate"
    assert "Warning: these lesions differ from the calibration" in said.err
