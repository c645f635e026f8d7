"""What cannot become a release is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from makers.builds import (
    SMALL_PARTS,
    TWO,
    make_build,
    make_release,
    members_of,
    put,
    tree,
    voi_row,
    write_rows,
)

from uls_data.errors import UlsDataError
from uls_data.recipe import recipe_template
from uls_data.release import release_build, release_verify


def refusal(out: Path, to: Path, **options: Any) -> str:
    with pytest.raises(UlsDataError) as caught:
        release_build(out, to, "1.0", **options)
    assert not to.exists() or not tree(to), "nothing may be written"
    return str(caught.value)


def test_refuses_unpaired_and_wrong_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = make_build(out, {"kits21": 5})
    images = out / "kits21" / "images"
    (out / rows[0]["label_path"]).unlink()
    (out / rows[1]["image_path"]).write_bytes(b"other")
    (images / "stray.nii.gz").write_bytes(b"x")
    rows[2]["image_path"] = None
    rows[3]["label_path"] = f"../elsewhere/{rows[3]['voi_id']}.nii.gz"
    rows[4]["label_voxels_sha256"] = None
    write_rows(out, rows)
    message = refusal(out, tmp_path / "to")
    assert f"{rows[0]['label_path']}: a row names it, but there is no such file" in message
    assert f"{rows[1]['image_path']}: its row says SHA-256" in message
    assert "kits21/images/stray.nii.gz: no row names this file" in message
    assert f"{rows[2]['voi_id']} (annotated): it has no image" in message
    assert f"{rows[3]['voi_id']} (annotated): its label is ../elsewhere/" in message
    assert f"{rows[4]['voi_id']} (annotated): its row has no hash of the label" in message


@pytest.mark.parametrize("voi_id", ["../../up", ".hidden", "a\nb", ""])
def test_refuses_names_that_are_none(tmp_path: Path, voi_id: str) -> None:
    out = tmp_path / "out"
    row = {**put(out, voi_row("kits21", 1)), "voi_id": voi_id}
    row["image_path"] = f"kits21/images/{voi_id}.nii.gz"
    write_rows(out, [row])
    assert "not a valid VOI name" in refusal(out, tmp_path / "to")


def test_refuses_what_may_not_be_passed_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_build(out, {"kits21": 1, "lits": 1, "lndb": 1})
    message = refusal(out, tmp_path / "to")
    assert "lndb: VOIs cut from it MAY NOT be passed on. (CC-BY-NC-ND-4.0)" in message
    assert "lits: Whether VOIs cut from it may be passed on is NOT KNOWN. (unknown)" in message
    assert "uls-data lndb-prep --raw DIR --out OUT" in message
    assert "the same command with --source kits21\n" in message
    assert "--local-only" in message
    report = release_build(out, tmp_path / "to", "1.0", sources=["kits21"])
    assert list(report.record.sources) == ["kits21"]
    assert b"lndb" not in b"".join(tree(tmp_path / "to").values()).lower()


def test_local_only_is_marked_everywhere(tmp_path: Path) -> None:
    make_release(tmp_path, {"kits21": 1, "lndb": 1}, local_only=True)
    release = tmp_path / "release"
    mark = "LOCAL-ONLY-DO-NOT-UPLOAD.txt"
    assert "lndb: CC-BY-NC-ND-4.0" in (release / mark).read_text()
    assert json.loads((release / "release.json").read_text())["local_only"] is True
    assert "LOCAL ONLY" in (release / "README.md").read_text().splitlines()[2]
    parts = list(release.glob("*.tar"))
    assert parts
    for part in parts:
        assert "LOCAL-ONLY" in part.name
        assert any(info.name.endswith(f"/{mark}") for info in members_of(part))
    found = release_verify(release)
    assert not found.findings
    assert found.record is not None and found.record.local_only


def test_refuses_missing_and_contradicting_terms(tmp_path: Path) -> None:
    out = tmp_path / "out"
    row = voi_row("kits21", 1)
    rows = [
        put(out, {**row, "source": "mine"}),
        put(out, {**row, "licence": "CC0-1.0", "source": "kits21"}),
    ]
    write_rows(out, rows)
    message = refusal(out, tmp_path / "to")
    assert "mine: no licence terms; give its recipe with --recipe" in message
    assert "kits21: its rows say CC0-1.0, redistributable True; its recipe now says" in message


def test_a_recipe_does_not_lift_a_ban(tmp_path: Path) -> None:
    make_build(tmp_path / "out", {"lndb": 1})
    text = recipe_template("lndb", "lndb").replace(
        "redistributable: false", "redistributable: true"
    )
    (tmp_path / "lndb.yaml").write_text(text)
    message = refusal(tmp_path / "out", tmp_path / "to", recipes=[tmp_path / "lndb.yaml"])
    assert "lndb may not be passed on (CC-BY-NC-ND-4.0)" in message


def test_a_source_of_ones_own_brings_its_recipe(tmp_path: Path) -> None:
    text = recipe_template("mine").replace("name: unknown", "name: CC0-1.0")
    text = text.replace("redistributable: null", "redistributable: true")
    (tmp_path / "mine.yaml").write_text(text)
    row = {**voi_row("kits21", 1), "source": "mine", "licence": "CC0-1.0"}
    write_rows(tmp_path / "out", [put(tmp_path / "out", row)])
    assert "mine: no licence terms" in refusal(tmp_path / "out", tmp_path / "to")
    unknown = {**row, "redistributable": None}
    write_rows(tmp_path / "unknown", [put(tmp_path / "unknown", unknown)])
    (tmp_path / "unknown.yaml").write_text(
        text.replace("redistributable: true", "redistributable: null")
    )
    message = refusal(tmp_path / "unknown", tmp_path / "to", recipes=[tmp_path / "unknown.yaml"])
    assert "NOT KNOWN" in message and "in its recipe, then build it again" in message
    report = release_build(tmp_path / "out", tmp_path / "to", "1", recipes=[tmp_path / "mine.yaml"])
    assert "CC0-1.0" in (tmp_path / "to" / "mine" / "LICENCE.md").read_text()
    assert not release_verify(report.folder).findings


def test_refuses_two_rows_of_one_key(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = make_build(out, {"kits21": 1})
    write_rows(out, rows, name="copy")
    assert "two rows of copy.parquet, kits21.parquet have the key" in refusal(out, tmp_path / "to")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"version": "../1"}, "--version"),
        ({"sources": ["lits"]}, "--source lits: not in this build; it has kits21"),
        ({"part_size": 1000}, "--part-size 1000: kits21/images/"),
        ({"layers": ["nothing"]}, "no VOI is left"),
    ],
)
def test_wrong_use_is_told(tmp_path: Path, options: dict[str, Any], what: str) -> None:
    make_build(tmp_path / "out", {"kits21": 2})
    with pytest.raises(UlsDataError, match=what):
        release_build(tmp_path / "out", tmp_path / "to", **{"version": "1", **options})
    assert not (tmp_path / "to").exists()


def test_a_manifest_alone_is_refused(tmp_path: Path) -> None:
    """Its files were looked for below the manifest."""
    make_build(tmp_path / "out", {"kits21": 1})
    said = refusal(tmp_path / "out" / "manifest" / "kits21.parquet", tmp_path / "to")
    assert "name the OUT folder of its build" in said


def test_a_release_never_changes(released: Path, tmp_path: Path) -> None:
    report = make_release(tmp_path, TWO)
    before = tree(report.folder)
    assert before == tree(released / "release")
    make_release(tmp_path, TWO)  # the same command again
    assert tree(report.folder) == before
    for version, size in (("1.1", SMALL_PARTS), ("1.0", 120_000)):
        with pytest.raises(UlsDataError, match=r"holds release 1\.0"):
            release_build(tmp_path / "out", report.folder, version, part_size=size)
    assert tree(report.folder) == before
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").touch()
    with pytest.raises(UlsDataError, match=r"holds thesis\.tex, which is not part of this release"):
        release_build(tmp_path / "out", tmp_path / "used", "1.0")
