"""`release verify`: every fault has a name, whatever it is and wherever it is."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from makers.builds import make_release, tree, unpack

from uls_data.cli import main
from uls_data.errors import UlsDataError
from uls_data.release import release_verify, verification
from uls_data.release.finding import Differences, Fault

# `make fuzz` raises it to 500.
FAULTS = int(os.environ.get("ULS_DATA_RELEASE_FAULTS", "90"))
TWO = {"kits21": 6, "mdsc_lung": 4}
KINDS = ("flip", "truncation", "swap", "rename", "extra", "missing")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    return make_release(folder, TWO).folder


@pytest.fixture(scope="module")
def unpacked(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked") / "release"
    unpack(packed, folder)
    return folder


def named(folder: Path) -> set[tuple[str, str]]:
    """Faults, without the details of what is inside a part."""
    return {(its.kind, its.file) for its in release_verify(folder).findings if ": " not in its.file}


def fault(folder: Path, kind: str, rng: random.Random) -> tuple[set[tuple[str, str]], str]:
    """Do one thing to one file; returns the findings that must come of it, and a word of them."""
    names = sorted(tree(folder))
    name = rng.choice(names)
    path = folder / name
    data = bytearray(path.read_bytes())
    match kind:
        case "flip":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            path.write_bytes(data)
            return {("changed", name)}, "SHA-256"
        case "truncation":
            path.write_bytes(data[: rng.randrange(len(data))])
            return {("changed", name)}, "SHA-256"
        case "swap":
            other = rng.choice([n for n in names if (folder / n).read_bytes() != data])
            path.write_bytes((folder / other).read_bytes())
            (folder / other).write_bytes(data)
            first, second = sorted((name, other))
            return {("swapped", first)}, second
        case "rename":
            new = f"{path.parent.relative_to(folder).as_posix()}/{rng.choice('abc')}-{path.name}"
            new = new.removeprefix("./")
            path.rename(folder / new)
            return {("renamed", name)}, new
        case "extra":
            new = f"{rng.choice(['', 'kits21/', 'kits21/images/', 'manifest/', 'new/'])}extra.bin"
            (folder / new).parent.mkdir(exist_ok=True)
            (folder / new).write_bytes(rng.randbytes(rng.randrange(100)))
            return {("extra", new)}, "does not belong"
        case _:
            path.unlink()
            return {("missing", name)}, "is not there"


@pytest.mark.parametrize("state", ["packed", "unpacked"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_single_fault_is_named(
    state: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    release: Path = request.getfixturevalue(state)
    for seed in range(-(-FAULTS // (2 * len(KINDS)))):
        rng = random.Random(f"{state} {kind} {seed}")
        folder = tmp_path / str(seed)
        shutil.copytree(release, folder)
        expected, word = fault(folder, kind, rng)
        assert named(folder) == expected, f"seed {seed}"
        (finding,) = (f for f in release_verify(folder).findings if ": " not in f.file)
        assert word in finding.detail
        shutil.rmtree(folder)


def repacked(part: Path, change: Any) -> None:
    """Rewrite a part from its members, changed by a function on their list."""
    with tarfile.open(part) as tar:
        members = []
        for info in tar:
            content = tar.extractfile(info)
            members.append([info, content.read() if content is not None else b""])
    change(members)
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def swap(members: list[Any]) -> None:
    members[3][1], members[5][1] = members[5][1], members[3][1]


def rename(members: list[Any]) -> None:
    members[4][0].name = "kits21/images/another.nii.gz"


def flip(members: list[Any]) -> None:
    members[4][1] = bytes([members[4][1][0] ^ 1]) + members[4][1][1:]


def twice(members: list[Any]) -> None:
    members.append(members[4])


def link(members: list[Any]) -> None:
    members[4][0].type, members[4][0].linkname = tarfile.SYMTYPE, "/etc/passwd"
    members[4][1] = b""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (swap, {("swapped", 3)}),
        (rename, {("renamed", 4)}),
        (flip, {("changed", 4)}),
        (link, {("changed", 4)}),
        (lambda members: members.pop(4), {("missing", 4)}),
        (twice, {("extra", "again")}),
        (lambda members: members.reverse(), {("changed", None)}),
    ],
    ids=["swap", "rename", "flip", "link", "missing", "twice", "order"],
)
def test_members_of_a_part_are_named(
    packed: Path, tmp_path: Path, change: Any, expected: set[tuple[str, Any]]
) -> None:
    folder = tmp_path / "release"
    shutil.copytree(packed, folder)
    part = folder / "kits21-part-001.tar"
    with tarfile.open(part) as tar:
        names: dict[Any, str] = dict(enumerate(f": {name}" for name in tar.getnames()))
    repacked(part, change)
    names |= {None: "", "again": f"{names[4]} (again)"}
    found = {(its.kind, its.file) for its in release_verify(folder).findings}
    wanted = {(kind, part.name + names[which]) for kind, which in expected}
    assert found == wanted | {("changed", part.name)}


def test_members_behind_the_damage(packed: Path, tmp_path: Path) -> None:
    """A part that ends too early: what is left of it is told from what is lost."""
    folder = tmp_path / "release"
    shutil.copytree(packed, folder)
    part = folder / "kits21-part-001.tar"
    with tarfile.open(part) as tar:
        infos = tar.getmembers()
    os.truncate(part, infos[5].offset_data + 10)
    found = {(its.kind, its.file.partition(": ")[2]) for its in release_verify(folder).findings}
    lost = {("missing", info.name) for info in infos[5:]}
    assert found == {("changed", ""), *lost}


def test_half_unpacked(packed: Path, tmp_path: Path) -> None:
    """Parts may go as soon as they are unpacked, one after another."""
    folder = tmp_path / "release"
    shutil.copytree(packed, folder)
    parts = sorted(folder.glob("*.tar"))
    for part in parts:
        with tarfile.open(part) as tar:
            tar.extractall(folder, filter="data")
        assert not release_verify(folder).findings
        part.unlink()
        assert not release_verify(folder).findings
    image = next(folder.glob("kits21/images/*"))
    image.unlink()
    assert named(folder) == {("missing", image.relative_to(folder).as_posix())}


def test_verify_reads_nothing_twice_after_a_stop(
    unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "release"
    shutil.copytree(unpacked, folder)
    monkeypatch.setattr(verification, "_SETTLED_NS", 0)
    read: list[Path] = []
    original = verification.sha256_file

    def reading(path: Path) -> str:
        read.append(path)
        return original(path)

    monkeypatch.setattr(verification, "sha256_file", reading)

    def stop_after(files: int) -> None:
        left = iter(range(files))

        def step(_: int) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            release_verify(folder, progress=step)

    before = tree(folder)
    stop_after(20)
    beside = tmp_path / ".release.verify"
    assert beside.is_file()
    assert tree(folder) == before, "nothing is written into a release"
    all_files = len(before)
    # A file that changed since, with its size and time as they were, is found.
    changed = folder / "kits21" / "images" / "case_00000_lesion_01_sample_0.nii.gz"
    stat = changed.stat()
    data = bytearray(changed.read_bytes())
    data[7] ^= 1
    changed.write_bytes(data)
    os.utime(changed, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    read.clear()
    found = release_verify(folder)
    assert [its.file for its in found.findings] == [changed.relative_to(folder).as_posix()]
    assert len(read) <= all_files - 15
    assert not beside.exists(), "a whole run leaves nothing"
    read.clear()
    release_verify(folder)
    assert len(read) >= all_files, "and the next one reads everything"


def test_files_just_written_are_not_remembered(unpacked: Path, tmp_path: Path) -> None:
    """A file may change again within one tick of the disk's clock."""
    folder = tmp_path / "release"
    shutil.copytree(unpacked, folder)
    with pytest.raises(ZeroDivisionError):
        release_verify(folder, progress=lambda files: files / 0)  # type: ignore[arg-type]
    assert not (tmp_path / ".release.verify").exists()


# --- Hostile releases -----------------------------------------------------------


def rewrite(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "release.json").read_text())
    (folder / "release.json").write_text(json.dumps({**content, **changes}))


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a//b", "a/../../b", "a\\b", ""])
def test_no_path_leads_out(packed: Path, tmp_path: Path, path: str) -> None:
    folder = tmp_path / "release"
    shutil.copytree(packed, folder)
    (tmp_path / "outside").write_text("secret")
    rewrite(folder, files=[{"path": path, "bytes": 6, "sha256": "0" * 64}])
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  {path}\n")
    found = release_verify(folder).findings
    assert path not in {its.file for its in found}
    assert "outside" not in " ".join(its.file for its in found)


def test_a_header_that_asks_for_memory(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(packed, folder)
    part = folder / "kits21-part-001.tar"
    huge = tarfile.TarInfo("././@PaxHeader")
    huge.type, huge.size = tarfile.XHDTYPE, 1 << 32
    with part.open("r+b") as file:
        file.write(huge.tobuf(tarfile.USTAR_FORMAT))
        file.truncate(1 << 33)  # a hole: no disk is used
    monkey = verification.sha256_file
    try:
        # Hashing 8 GiB of nothing takes seconds; the header is what is tested.
        verification.sha256_file = lambda path: "f" * 64 if path == part else monkey(path)  # type: ignore[assignment]
        found = release_verify(folder).findings
    finally:
        verification.sha256_file = monkey
    assert ("changed", part.name) in {(its.kind, its.file) for its in found}


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"format": 2}', "\0" * 99, "[" * 9999, '{"parts": 1e999}']
)
def test_a_release_json_that_is_none(packed: Path, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "release"
    shutil.copytree(packed, folder)
    (folder / "release.json").write_text(text)
    found = release_verify(folder)
    assert {(its.kind, its.file) for its in found.findings} == {("changed", "release.json")}
    assert found.record is None
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(UlsDataError, match=r"release\.json"):
        release_verify(folder)


def test_no_release(tmp_path: Path) -> None:
    with pytest.raises(UlsDataError, match="expected the folder of a release"):
        release_verify(tmp_path)
    with pytest.raises(UlsDataError, match="expected the folder of a release"):
        release_verify(tmp_path / "missing")


def test_links_and_special_files_are_no_files(unpacked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(unpacked, folder)
    (folder / "README.md").rename(tmp_path / "README.md")
    (folder / "README.md").symlink_to(tmp_path / "README.md")
    os.mkfifo(folder / "kits21" / "pipe")
    (folder / "more").symlink_to("/")
    found = {(its.kind, its.file) for its in release_verify(folder).findings}
    assert found == {("changed", "README.md"), ("extra", "kits21/pipe"), ("extra", "more")}


def test_another_release_that_is_whole(packed: Path, tmp_path: Path) -> None:
    """Only the published hash tells a forged release from the true one."""
    forged = make_release(tmp_path, {"kits21": 2})
    assert not release_verify(forged.folder).findings
    true = release_verify(packed).record
    assert true is not None
    found = release_verify(forged.folder, release_sha256=true.own_sha256()).findings
    assert [its.kind for its in found] == ["wrong"]


def test_roots_that_are_not_the_manifests(packed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(packed, folder)
    record = release_verify(packed).record
    assert record is not None
    false = record.model_copy(update={"payload_root": "0" * 64})
    (folder / "release.json").write_bytes(false.text())
    (folder / "SHA256SUMS").write_bytes(false.sums_text())
    assert [(its.kind, its.file) for its in release_verify(folder).findings] == [
        ("wrong", "release.json")
    ]


def test_differences_tell_moves_from_changes() -> None:
    expected = {"a": "1" * 64, "b": "2" * 64, "c": "3" * 64, "d": "4" * 64, "e": "5" * 64}
    found = {"a": "2" * 64, "b": "9" * 64, "c": "4" * 64, "d": "3" * 64, "f": "5" * 64, "g": "6"}
    assert [(its.kind, its.file) for its in Differences(expected, found).findings()] == [
        ("changed", "a"),
        ("changed", "b"),
        ("swapped", "c"),
        ("renamed", "e"),
        ("extra", "g"),
    ]
    assert Differences({"a": "1" * 64}, {"a": "no plain file"}).findings() == [
        Fault("changed", "a", "no plain file")
    ]


def test_command(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(["release", "verify", *words])
        streams = capsys.readouterr()
        return int(caught.value.code or 0), streams.out, streams.err

    code, out, _ = call(str(packed))
    assert code == 0
    assert "whole" in out and "payload root" in out
    folder = tmp_path / "release"
    shutil.copytree(packed, folder)
    (folder / "README.md").unlink()
    code, out, _ = call(str(folder))
    assert code == 1
    assert "missing" in out and "README.md" in out
    code, out, err = call(str(folder), "--json")
    assert code == 1
    assert [json.loads(line) for line in out.splitlines()] == [
        {"kind": "missing", "file": "README.md", "detail": "is not there"}
    ]
    assert "1 faults" in err
    code, _, err = call(str(tmp_path / "nothing"))
    assert code == 2
    assert "expected the folder of a release" in err
