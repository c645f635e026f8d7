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
from makers.builds import (
    SMALL_PARTS,
    load_rows,
    make_build,
    members_of,
    put,
    tree,
    unpack,
    voi_row,
    write_rows,
)
from makers.certified import write_certificate
from makers.shared import linked

from demo.sources import make_archives
from uls_data import build, query, stats
from uls_data.cli import main
from uls_data.errors import UlsDataError
from uls_data.io import sha256_bytes, sha256_file
from uls_data.manifest import write_manifest
from uls_data.manifest.parquet import iterate_rows
from uls_data.manifest.schema import document
from uls_data.release import release_build, release_verify
from uls_data.release.parts import Member, part_bytes, split, write_part
from uls_data.release.roots import PAYLOAD_COLUMNS, payload_root, provenance_root


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


@pytest.mark.parametrize("umask", [0o077, 0o000])
def test_the_umask_does_not_show(tmp_path: Path, umask: int) -> None:
    """Files for all to read, folders for all to enter, and nothing for all to write."""
    make_build(tmp_path / "out", {"kits21": 1})
    before = os.umask(umask)
    try:
        folder = release_build(tmp_path / "out", tmp_path / "a/release", "1.0").folder
    finally:
        os.umask(before)
    paths = [folder, *folder.rglob("*")]
    modes = {(path.is_dir(), oct(path.stat().st_mode & 0o7777)) for path in paths}
    assert modes == {(True, "0o755"), (False, "0o644")}
    infos = [info for path in paths if path.suffix == ".tar" for info in members_of(path)]
    assert infos and {oct(info.mode) for info in infos} == {"0o644"}
    assert not release_verify(folder).findings


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


def test_the_card_quotes_what_certificates_promise(released: Path, tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path / "c.json")
    sha256 = sha256_file(certificate)
    out = linked(released / "out", tmp_path / "out")
    path = out / "manifest" / "kits21.parquet"
    rows = list(iterate_rows(path))
    ok = [row for row in rows if row["status"] == "ok"]
    for number, row in enumerate(ok):
        row["certificate"], row["certified"] = sha256, number > 0
    path.unlink()
    write_manifest(rows, path)
    says = f"- {len(ok) - 1} of {len(ok)} masks are certified by `{sha256}`: "
    release_build(out, tmp_path / "bare", "1.0")
    bare = (tmp_path / "bare" / "README.md").read_text()
    assert says + "The certificate is not part of this release." in bare
    release_build(out, tmp_path / "full", "1.0", certificates=[certificate])
    full = (tmp_path / "full" / "README.md").read_text()
    assert says + "Of the kept masks at most 0.1 have a Dice under 0.7." in full
    copied = tmp_path / "full" / "certificates" / f"{sha256}.json"
    assert copied.read_bytes() == certificate.read_bytes()
    assert release_verify(tmp_path / "full").findings == []
    copied.write_bytes(b"{}")
    assert len(release_verify(tmp_path / "full").findings) == 1


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
