"""`release build`: what is in a release, that it is the same everywhere, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from made_builds import (
    SMALL_PARTS,
    ball,
    make_build,
    make_release,
    put,
    tree,
    unpack,
    voi_row,
    write_rows,
)

from uls_data import build, load_manifest, query, stats
from uls_data.cli import main
from uls_data.demo.sources import make_archives
from uls_data.errata import apply_errata
from uls_data.errors import UlsDataError
from uls_data.factory.lndb_prep import prepare_lndb
from uls_data.io import sha256_bytes, write_bytes
from uls_data.manifest.schema import document
from uls_data.manifest.table import iterate_rows, manifest_files
from uls_data.recipe import recipe_template
from uls_data.release import release_build, release_verify
from uls_data.release.archive import Member, part_bytes, split, write_part
from uls_data.release.roots import PAYLOAD_COLUMNS, payload_root, provenance_root

TWO = {"kits21": 6, "mdsc_lung": 4}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    make_release(folder, TWO)
    return folder


def refusal(out: Path, to: Path, **options: Any) -> str:
    with pytest.raises(UlsDataError) as caught:
        release_build(out, to, "1.0", **options)
    assert not to.exists() or not tree(to), "nothing may be written"
    return str(caught.value)


def test_equal_bytes_from_any_build(tmp_path: Path) -> None:
    """Builds with 1 and 2 workers, other folders, other times: one tree, one pair of roots."""
    archives = make_archives(tmp_path / "raw", only=["mdsc_lung"])
    reports = []
    for workers in (1, 2):
        out = tmp_path / f"out{workers}" / "vois"
        for source, raw in archives.items():
            build(source, raw, out, workers=workers)
        for path in out.rglob("*"):
            os.utime(path, (workers * 1e8, workers * 1e8))
        to = tmp_path / ("deep/er" * workers)
        reports.append(release_build(out, to, "2026.1", part_size=520_000))
    one, two = reports
    assert tree(one.folder) == tree(two.folder)
    assert one.release_sha256 == two.release_sha256
    assert len(one.record.parts) == 2
    assert one.record.payload_root == two.record.payload_root
    assert not release_verify(one.folder).findings


def test_parts_and_texts(released: Path) -> None:
    release = released / "release"
    record = json.loads((release / "release.json").read_text())
    for part in record["parts"]:
        path = release / part["path"]
        assert path.stat().st_size == part["bytes"] <= record["part_bytes_at_most"]
        infos = members_of(path)
        assert {(i.uid, i.gid, i.uname, i.gname, i.mode, i.mtime) for i in infos} == {
            (0, 0, "", "", 0o644, 315532800)
        }
        names = [i.name for i in infos]
        source = part["source"]
        assert f"manifest/{source}.parquet" in names
        assert {f"{source}/LICENCE.md", f"{source}/ATTRIBUTION.md"} <= set(names)
        vois = [n for n in names if n.endswith(".nii.gz")]
        assert vois == sorted(vois, key=lambda n: (n.rpartition("/")[2], n))
        images = {n.rpartition("/")[2] for n in vois if "/images/" in n}
        assert images == {n.rpartition("/")[2] for n in vois if "/labels/" in n}
        assert len(images) == part["vois"]
    assert len(record["parts"]) > 4
    assert "CC-BY-NC-SA-4.0" in (release / "kits21" / "LICENCE.md").read_text()
    assert "arXiv:2307.01984" in (release / "kits21" / "ATTRIBUTION.md").read_text()
    assert "nothing was resampled" in (release / "kits21" / "ATTRIBUTION.md").read_text()
    assert yaml.safe_load((release / "CITATION.cff").read_text())["version"] == "1.0"
    bib = (release / "CITATION.bib").read_text()
    assert "heller2023kits21" in bib
    assert bib.count("@") == len({line for line in bib.splitlines() if line.startswith("@")})
    checked = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=release, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    listed = {line[66:] for line in (release / "SHA256SUMS").read_text().splitlines()}
    assert listed == tree(release).keys() - {"SHA256SUMS"}


def test_data_card_tells_the_manifests_numbers(released: Path) -> None:
    card = (released / "release" / "README.md").read_text()
    assert "10 lesions and 10 volumes of interest of 2 sources" in card
    assert "| kits21 | skipped | below_minimum_size | 1 |" in card
    record = json.loads((released / "release" / "release.json").read_text())
    assert record["payload_root"] in card
    assert record["provenance_root"] in card
    frame = stats([released / "out"])
    for row in frame.itertuples():
        assert f"| {row.source} | {row.layer or '-'} |".replace("|  |", "| - |") in card or (
            row.source == "all"
        )
        assert f"| {row.long_mean:.2f} |" in card


def test_unpacked_it_is_a_build(released: Path, tmp_path: Path) -> None:
    unpack(released / "release", tmp_path / "new", texts=False)
    found, out = tree(tmp_path / "new"), tree(released / "out")
    vois = {name for name in out if name.endswith(".nii.gz")}
    assert vois == {name for name in found if name.endswith(".nii.gz")}
    assert all(found[name] == out[name] for name in vois)
    assert load_rows(tmp_path / "new") == load_rows(released / "out")
    # The release itself answers, too.
    assert len(query(released / "release", 'status == "ok"')) == 12
    # Unpacked, it can be released again: to the same bytes.
    again = release_build(tmp_path / "new", tmp_path / "again", "1.0", part_size=SMALL_PARTS)
    assert tree(again.folder) == tree(released / "release")


def test_payload_is_the_data_alone(released: Path) -> None:
    rows = load_rows(released / "out")
    payload, provenance = payload_root(rows), provenance_root(rows)
    other = [
        {
            **row,
            "software_version": "9.9",
            "detail": "other words",
            "label_sha256": "0" * 64,
            "qc_flags": ["oblique"],
            "long_axis_vox": row["long_axis_vox"] + 1e-9,
            "affine": [-0.0 if value == 0 else value for value in row["affine"]],
        }
        for row in reversed(rows)
    ]
    assert payload_root(other) == payload
    assert provenance_root(other) != provenance
    assert provenance_root(reversed(rows)) == provenance
    kinds = {column["name"]: column["type"] for column in document()["columns"]}
    values = {"string": "x", "int32": 7, "float64": 7.5, "bool": True}
    for column in PAYLOAD_COLUMNS:
        value: Any = values.get(kinds[column], [7.5] * 16)
        changed = [{**rows[0], column: value}, *rows[1:]]
        assert payload_root(changed) != payload, column


def members_of(part: Path) -> list[tarfile.TarInfo]:
    with tarfile.open(part) as tar:
        return tar.getmembers()


def load_rows(out: Path) -> list[dict[str, Any]]:
    return [row for file in manifest_files(out) for row in iterate_rows(file)]


sizes = st.lists(st.lists(st.integers(0, 5000), min_size=1, max_size=3), max_size=12)


@given(sizes, st.integers(1, 60_000))
def test_split_keeps_all_and_the_limit(groups: list[list[int]], limit: int) -> None:
    front = [member("manifest/s.parquet", 700)]
    made = [
        [member(f"s/images/{n:03}-{m}.nii.gz", size) for m, size in enumerate(group)]
        for n, group in enumerate(groups)
    ]
    fits = all(part_bytes([*front, *group]) <= limit for group in made)
    try:
        parts = list(split(front, made, limit))
    except UlsDataError as error:
        assert not fits
        assert "--part-size" in str(error)
        return
    assert fits
    assert [group for part in parts for group in part] == made
    for part, after in zip(parts, [*parts[1:], None], strict=False):
        members = [*front, *(m for group in part for m in group)]
        assert part_bytes(members) <= limit
        if after is not None:
            assert part_bytes([*members, *after[0]]) > limit


def member(name: str, size: int) -> Member:
    data = bytes(size)
    return Member(name, sha256_bytes(data), size, None, data)


def test_part_size_is_as_told_for_long_names_too(tmp_path: Path) -> None:
    members = [member(f"s/images/{'n' * length}.nii.gz", length) for length in (5, 95, 190, 243)]
    write_part(tmp_path / "s.tar", members)
    assert (tmp_path / "s.tar").stat().st_size == part_bytes(members)
    with tarfile.open(tmp_path / "s.tar") as tar:
        assert tar.getnames() == [m.name for m in members]


# --- Refused ------------------------------------------------------------------


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
    assert "this is no name of a VOI" in refusal(out, tmp_path / "to")


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
    assert "mine: no licence terms: it is no shipped source; give its recipe by --recipe" in message
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
    with pytest.raises(UlsDataError, match=r"holds thesis\.tex, which is no file of this release"):
        release_build(tmp_path / "out", tmp_path / "used", "1.0")


# --- Corrections, leaks, layers -------------------------------------------------


def corrected(out: Path, number: int, **changes: Any) -> dict[str, Any]:
    detail = (
        "replace | 2026-01-02 | by ann | - | border was wrong | evidence: slice 12 | overlay o | "
        "aaaaaaaaaaaaaaaa -> bbbbbbbbbbbbbbbb"
    )
    row = voi_row(
        "kits21", number, layer="corrected", parent_layer="annotated", detail=detail, **changes
    )
    return put(out, row) if row["status"] == "ok" else row


def test_corrections_take_the_place_of_what_they_correct(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_build(out, {"kits21": 5})
    drop, again = (
        {"status": "skipped", "reason": reason, "image_path": None}
        for reason in ("erratum_drop", "erratum_reclick")
    )
    rows = [
        corrected(out, 0),
        {**corrected(out, 1, **drop), "detail": "drop" + corrected(out, 1)["detail"][7:]},
        corrected(out, 2, **again),
    ]
    (out / rows[1]["voi_id"]).parent.mkdir(exist_ok=True)
    stray = out / "kits21" / "labels" / "corrected" / f"{rows[1]['voi_id']}.nii.gz"
    stray.unlink()
    write_rows(out, rows, name="errata")
    report = release_build(out, tmp_path / "to", "1.0")
    released = load_manifest(report.folder)
    ok = released[released["status"] == "ok"]
    layers = {
        (int(case[-1]), layer) for case, layer in zip(ok["case_id"], ok["layer"], strict=True)
    }
    # 1 was dropped with all its layers, 2 waits for another click.
    assert layers == {(0, "corrected"), (3, "annotated"), (4, "annotated")}
    assert set(released["reason"].dropna()) >= {"erratum_drop", "erratum_reclick"}
    assert report.record.left_out == {"replaced by a correction": 1, "withdrawn by a correction": 3}
    log = (report.folder / "CHANGELOG.md").read_text()
    assert "kits21 case_00000_lesion_01_sample_0: mask replaced: border was wrong" in log
    assert "kits21 case_00001_lesion_01_sample_0: left out: border was wrong" in log
    names = [info.name for path in report.folder.glob("*.tar") for info in members_of(path)]
    assert f"kits21/labels/corrected/{rows[0]['voi_id']}.nii.gz" in names
    assert f"kits21/labels/annotated/{rows[0]['voi_id']}.nii.gz" not in names
    assert not release_verify(report.folder).findings
    # A correction belongs to the layer that it corrects.
    assert len(query(release_build(out, tmp_path / "a", "1", layers=["annotated"]).folder)) == 6


def test_corrections_as_errata_apply_them(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = [put(out, voi_row("kits21", n), ball(6.0 + n)) for n in range(3)]
    write_rows(out, rows)
    common = {"source": "kits21", "layer": "annotated", "author": "ann", "date": "2026-01-02"}
    words = {"reason": "a cyst", "evidence": "slice 12", "before": rows[0]["label_voxels_sha256"]}
    fixes = [
        {**common, **words, "kind": "drop", "voi_id": rows[0]["voi_id"]},
        {
            **common,
            **words,
            "kind": "relabel",
            "voi_id": rows[1]["voi_id"],
            **dict.fromkeys(("before", "after"), rows[1]["label_voxels_sha256"]),
            "columns": {"lesion_type": "abdomen"},
        },
    ]
    overlay = tmp_path / "fixes.yaml"
    overlay.write_text(yaml.safe_dump({"name": "fixes", "title": "Two", "corrections": fixes}))
    apply_errata(overlay, out)
    report = release_build(out, tmp_path / "to", "1.0")
    found = {(r["voi_id"], r["layer"]): r for r in load_rows(report.folder) if r["status"] == "ok"}
    assert set(found) == {(rows[1]["voi_id"], "corrected"), (rows[2]["voi_id"], "annotated")}
    assert found[rows[1]["voi_id"], "corrected"]["lesion_type"] == "abdomen"
    log = (report.folder / "CHANGELOG.md").read_text()
    assert f"- kits21 {rows[0]['voi_id']}: left out: a cyst (ann, 2026-01-02)" in log
    assert f"- kits21 {rows[1]['voi_id']}: relabelled (lesion_type: abdomen): a cyst" in log
    unpack(report.folder, tmp_path / "unpacked")
    assert not release_verify(tmp_path / "unpacked").findings


def test_leaks_are_listed_or_left_out(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = make_build(out, {"kits21": 4})
    for row, flag in zip(rows, ("leak_heldout_patient", "leak_same_scan"), strict=False):
        row["qc_flags"] = [flag]
    write_rows(out, rows)
    kept = release_build(out, tmp_path / "kept", "1.0")
    card = (kept.folder / "README.md").read_text()
    assert "2 rows show a scan or patient that is also held out" in card
    assert f"| kits21 | {rows[1]['voi_id']} | annotated | leak_same_scan |" in card
    assert set(load_manifest(kept.folder, ["split"])["split"]) == {"train"}
    clean = release_build(out, tmp_path / "clean", "1.0", drop_leaks=True)
    assert len(load_manifest(clean.folder)) == len(rows) - 2
    assert clean.record.left_out == {"leak, left out by --drop-leaks": 2}
    assert "2 rows: leak, left out by --drop-leaks" in (clean.folder / "README.md").read_text()


def test_filtered_masks_stay_rows(tmp_path: Path) -> None:
    out = tmp_path / "out"
    rows = make_build(out, {"kits21": 3})
    rows[0] |= {"status": "skipped", "reason": "filtered", "detail": "axis error 9"}
    write_rows(out, rows)
    report = release_build(out, tmp_path / "to", "1.0")
    (row,) = [row for row in load_rows(report.folder) if row["reason"] == "filtered"]
    assert (row["image_path"], row["label_path"]) == (None, None)
    names = [info.name for path in report.folder.glob("*.tar") for info in members_of(path)]
    assert not [n for n in names if rows[0]["voi_id"] in n]


def test_lndb_prep_and_a_release_make_one_manifest(tmp_path: Path) -> None:
    raw = make_archives(tmp_path / "raw", only=["lndb"])["lndb"]
    prepare_lndb(raw, tmp_path / "mine")
    make_build(tmp_path / "theirs", {"mdsc_colon": 3})
    theirs = [*load_rows(tmp_path / "theirs")]
    public = release_build(tmp_path / "theirs", tmp_path / "public", "1")
    both = load_manifest([public.folder, tmp_path / "mine"])
    key = document()["key"]
    assert not both.duplicated(key).any()
    assert len(both) == len(load_rows(tmp_path / "mine")) + len(theirs)
    assert load_rows(public.folder) == theirs
    assert set(both[both["status"] == "ok"]["source"]) == {"lndb", "mdsc_colon"}
    # At that user's place, everything can be one release.
    for name, data in tree(tmp_path / "mine").items():
        write_bytes(tmp_path / "theirs" / name, data)
    whole = release_build(tmp_path / "theirs", tmp_path / "whole", "1", local_only=True)
    assert set(whole.record.sources) == {"lndb", "mdsc_colon"}
    mine = whole.record.sources["mdsc_colon"]
    assert mine.payload_root == public.record.sources["mdsc_colon"].payload_root


# --- Interrupted ----------------------------------------------------------------


def test_killed_it_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_rows(out, [put(out, voi_row("kits21", n), size=400_000) for n in range(40)])
    undisturbed = release_build(out, tmp_path / "undisturbed", "1", part_size=1_000_000)
    assert len(undisturbed.record.parts) == 20
    to = tmp_path / "to"
    command = [sys.executable, "-m", "uls_data", "release", "build", str(out), "--version", "1"]
    command += ["--to", str(to), "--part-size", "1000000"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    give_up = time.monotonic() + 60
    while len(list(to.glob("kits21-part-*.tar"))) < 3:
        assert process.poll() is None and time.monotonic() < give_up, "over before it was killed"
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)
    assert not (to / "release.json").exists()
    finished = {path.name: path.stat().st_ino for path in to.glob("kits21-part-*.tar")}
    # Another layout begun in the same folder leaves nothing behind.
    (to / ".tmp-left").touch()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert tree(to) == tree(undisturbed.folder)
    kept = sum(ino == (to / name).stat().st_ino for name, ino in finished.items())
    assert kept >= len(finished) - 1, "finished parts are not written again"


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_build(tmp_path / "out", {"kits21": 2, "lndb": 1})
    build_it = ["release", "build", str(tmp_path / "out"), "--version", "1", "--to"]

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(words))
        streams = capsys.readouterr()
        return int(caught.value.code or 0), streams.out, streams.err

    code, out, err = call(*build_it, str(tmp_path / "to"))
    assert (code, out) == (2, "")
    assert "lndb-prep" in err
    code, out, err = call(*build_it, str(tmp_path / "to"), "--source", "kits21", "--json")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["kind"] for line in lines] == ["part", "release"]
    code, out, err = call(*build_it, str(tmp_path / "here"), "--local-only")
    assert code == 0
    assert "kits21" in out and "LOCAL ONLY" in err
