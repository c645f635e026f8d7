"""Malicious releases that agree with themselves: `verify` names every one, and none hangs it."""

from __future__ import annotations

import io
import os
import random
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from makers.builds import make_release

from uls_data.io import sha256_file
from uls_data.release import release_verify
from uls_data.release.record import RECORD, SUMS, read_record

# `make fuzz` raises it.
RELEASES = int(os.environ.get("ULS_DATA_HOSTILE_RELEASES", "100"))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("whole"), {"kits21": 2}).folder


Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", link: str = "") -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mtime, info.mode = kind, link, 315532800, 0o644
    info.size = len(data)
    return info, data


def first_with(**changes: object) -> Callable[[list[Entry], random.Random], None]:
    def change(entries: list[Entry], rng: random.Random) -> None:
        info = rng.choice(entries)[0]
        for name, value in changes.items():
            setattr(info, name, value)

    return change


def added(make: Callable[[list[Entry], random.Random], Entry]) -> Callable[..., None]:
    def change(entries: list[Entry], rng: random.Random) -> None:
        entries.insert(rng.randrange(len(entries) + 1), make(entries, rng))

    return change


def emptied(entries: list[Entry], rng: random.Random) -> None:
    info, _ = entries.pop(rng.randrange(len(entries)))
    entries.append(entry(info.name, data=b"other bytes"))


def linked(entries: list[Entry], rng: random.Random) -> None:
    at = rng.randrange(len(entries))
    kind = rng.choice([tarfile.SYMTYPE, tarfile.LNKTYPE])
    entries[at] = entry(entries[at][0].name, kind, link=rng.choice(["/etc/passwd", "../../x"]))


KINDS: dict[str, Callable[[list[Entry], random.Random], None]] = {
    "leads out": added(lambda _, rng: entry("../" * rng.randrange(1, 9) + "x", data=b"x")),
    "absolute": added(lambda _, rng: entry(rng.choice(["/x", "/etc/cron.d/x"]), data=b"x")),
    "symlink": added(lambda _, __: entry("kits21/images/x", tarfile.SYMTYPE, link="/etc")),
    "hard link": added(lambda _, __: entry("kits21/images/x", tarfile.LNKTYPE, link="/etc/shadow")),
    "link for a VOI": linked,
    "device": added(
        lambda _, rng: entry("kits21/x", rng.choice([tarfile.CHRTYPE, tarfile.BLKTYPE]))
    ),
    "fifo": added(lambda _, __: entry("kits21/images/x", tarfile.FIFOTYPE)),
    "folder": added(lambda _, __: entry("kits21/images", tarfile.DIRTYPE)),
    "again": added(lambda entries, rng: entry(rng.choice(entries)[0].name, data=b"later wins")),
    "setuid": first_with(mode=0o4755),
    "owner": first_with(uname="root", uid=0, gname="root"),
    "time": first_with(mtime=0),
    "odd name": added(
        lambda _, rng: entry(rng.choice(["\x1b[2Jx", "a\nb", "kits21/\u202egz.iin", "-rf", "x "]))
    ),
    "one less": lambda entries, rng: entries.pop(rng.randrange(len(entries))) and None,
    "other content": emptied,
}


def make_hostile(release: Path, to: Path, kind: str, rng: random.Random) -> str:
    """Copy a release with one part that is hostile, and lists that agree; returns the part."""
    shutil.copytree(release, to, copy_function=os.link)
    record = read_record(to / RECORD)
    part = rng.choice(record.parts)
    path = to / part.path
    with tarfile.open(path) as tar:
        entries = []
        for info in tar:
            content = tar.extractfile(info)
            assert content is not None
            entries.append((info, content.read()))
    KINDS[kind](entries, rng)
    path.unlink()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    agree(to, part.path)
    return str(part.path)


def agree(folder: Path, part: str) -> None:
    """Let the lists of a release say what a changed part is."""
    record = read_record(folder / RECORD)
    path = folder / part
    new = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    parts = [it.model_copy(update=new) if it.path == part else it for it in record.parts]
    record = record.model_copy(update={"parts": parts})
    for name, data in ((RECORD, record.text()), (SUMS, record.sums_text())):
        (folder / name).unlink()
        (folder / name).write_bytes(data)


def test_a_whole_release_has_no_fault(release: Path) -> None:
    assert release_verify(release).findings == []


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_members_are_named(release: Path, kind: str, tmp_path: Path) -> None:
    for seed in range(-(-RELEASES // len(KINDS))):
        folder = tmp_path / str(seed)
        part = make_hostile(release, folder, kind, random.Random(f"{kind} {seed}"))
        found = release_verify(folder).findings
        assert found and all(it.kind == "wrong" and it.file.startswith(part) for it in found), found
        assert all(it.file.isprintable() for it in found)
        shutil.rmtree(folder)


def test_bytes_behind_the_last_member_are_named(release: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    shutil.copytree(release, folder)
    part = read_record(folder / RECORD).parts[0].path
    with (folder / part).open("ab") as file:
        file.write(b"hidden" * 2000)
    agree(folder, part)
    (fault,) = release_verify(folder).findings
    assert "belong to no member" in fault.detail


def test_a_fifo_as_a_part_does_not_hang(release: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    shutil.copytree(release, folder)
    part = folder / read_record(folder / RECORD).parts[0].path
    part.unlink()
    os.mkfifo(part)
    (fault,) = release_verify(folder).findings
    assert fault.file == part.name and "no plain file" in fault.detail
