"""Damage to files, compressed streams and folders."""

from __future__ import annotations

import gzip
import io
import os
import random
import socket
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

from makers.hostile.parts import MARK, MIB, NIFTI, Case, Part, hostile


@hostile("stream")
def cut(rng: random.Random, case: Case, part: Part) -> None:
    part.data = part.data[: rng.randrange(max(len(part.data), 1))]


@hostile("stream", (".nii.gz",))
def cut_at_the_end(rng: random.Random, case: Case, part: Part) -> None:
    part.data = part.data[: -rng.randrange(1, 12)]


@hostile("stream", (".nii.gz",))
def stream_flips(rng: random.Random, case: Case, part: Part) -> None:
    data = bytearray(part.data)
    top = rng.choice((12, len(data)))
    for _ in range(rng.choice((1, 1, 5))):
        at = rng.randrange(min(top, len(data))) if rng.random() < 0.8 else -rng.randrange(1, 9)
        data[at] ^= 1 << rng.randrange(8)
    part.data = bytes(data)


@hostile("stream", (".nii.gz",))
def members(rng: random.Random, case: Case, part: Part) -> None:
    content = part.content
    cuts = sorted(rng.randrange(len(content) + 1) for _ in range(rng.choice((1, 3, 40))))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    if rng.random() < 0.3:
        rng.shuffle(pieces)
    if rng.random() < 0.3:
        pieces.insert(rng.randrange(len(pieces) + 1), b"")
    glue = rng.choice((b"", b"", b"\0", b"x"))
    part.data = glue.join(gzip.compress(piece, part.level) for piece in pieces)


@hostile("stream", (".nii.gz",))
def gzip_bomb(rng: random.Random, case: Case, part: Part) -> None:
    bomb = gzip.compress(bytes(rng.choice((8, 64)) * MIB), 9)
    at = rng.choice((0, 348, 352, len(part.content)))
    start, rest = gzip.compress(part.content[:at]), gzip.compress(part.content[at:])
    part.data = start + bomb + rest


@hostile("stream", (".nii.gz",))
def gzip_header(rng: random.Random, case: Case, part: Part) -> None:
    flags = rng.choice((2, 4, 8, 16, 28, 30, 32, 64, 128, 255))
    fields = b""
    if flags & 4:
        fields += rng.choice((b"\x04\0abcd", b"\xff\xff", b"\x10\0" + MARK))
    if flags & 8:
        fields += MARK + rng.choice((b"\0", b""))
    if flags & 16:
        fields += MARK + b"\0"
    head = bytearray(part.data[:10].ljust(10, b"\0"))
    head[3] = flags
    whole = bytes(head) + fields
    if flags & 2:
        whole += struct.pack("<H", zlib.crc32(whole) & 0xFFFF if rng.random() < 0.7 else 0)
    part.data = whole + part.data[10:]


@hostile("stream", (".nii.gz",))
def gzip_trailer(rng: random.Random, case: Case, part: Part) -> None:
    ends = (b"\0" * 1000, b"x", b"\x1f\x8b", b"\x1f\x8b\x08\0\0", gzip.compress(b""), MARK)
    part.data += rng.choice((*ends, part.data, b"\0\0" + gzip.compress(b"")))


@hostile("stream", NIFTI)
def zipped_twice(rng: random.Random, case: Case, part: Part) -> None:
    part.data = gzip.compress(part.data)


@hostile("stream")
def other_file(rng: random.Random, case: Case, part: Part) -> None:
    memory = io.BytesIO()
    turn = rng.randrange(9)
    if turn == 0:
        with zipfile.ZipFile(memory, "w") as archive:
            archive.writestr("../../escaped.nii", part.content)
    elif turn == 1:
        with tarfile.open(fileobj=memory, mode="w:gz") as tar:
            tar.addfile(tarfile.TarInfo("../../escaped.nii"))
    part.data = (
        memory.getvalue(),
        memory.getvalue(),
        b"<html>404: not here</html>\n" * 40,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n",
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        bytes(128) + b"DICM" + bytes(500),
        rng.randbytes(rng.choice((1, 3, 17, 400, 5000))),
        bytes(rng.choice((1, 348, 352, 100_000))),
        b"\xfd7zXZ\0" + bytes(100),
    )[turn]


@hostile("stream")
def no_byte(rng: random.Random, case: Case, part: Part) -> None:
    part.data = b""


@hostile("disk")
def folder(rng: random.Random, case: Case, part: Part) -> None:
    part.place = lambda path: path.mkdir()


@hostile("disk")
def pipe(rng: random.Random, case: Case, part: Part) -> None:
    part.place = os.mkfifo


@hostile("disk", (".mhd",))
def pipe_for_voxels(rng: random.Random, case: Case, part: Part) -> None:
    part.voxels = None

    def place(path: Path) -> None:
        path.write_bytes(part.data)
        os.mkfifo(path.with_name(f"{case.name}.raw"))

    part.place = place


@hostile("disk")
def socket_file(rng: random.Random, case: Case, part: Part) -> None:
    def place(path: Path) -> None:
        # The name of a socket is short; a folder's descriptor stands for the long part.
        parent = os.open(path.parent, os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"/proc/self/fd/{parent}/s")
            (path.parent / "s").rename(path)
        finally:
            os.close(parent)

    part.place = place


@hostile("disk")
def link_to_nowhere(rng: random.Random, case: Case, part: Part) -> None:
    target = rng.choice(("absent", "absent/absent", "", "x" * 300, "good.nii.gz/below"))
    part.place = lambda path: path.symlink_to(target or "absent\n")


@hostile("disk")
def link_loop(rng: random.Random, case: Case, part: Part) -> None:
    longer = rng.random() < 0.5

    def place(path: Path) -> None:
        if longer:
            path.symlink_to(f"{path.name}.loop")
            path.with_name(f"{path.name}.loop").symlink_to(path.name)
        else:
            path.symlink_to(path.name)

    part.place = place


@hostile("disk")
def link_outside(rng: random.Random, case: Case, part: Part) -> None:
    case.outside = True
    turn = rng.randrange(6)

    def place(path: Path) -> None:
        base = path.parent.parent.parent
        targets = (
            f"../../secret{part.ext}",
            str(base / f"secret{part.ext}"),
            "../../secret.raw",
            "/dev/zero",
            "../..",
            "/proc/self/cmdline",
        )
        path.symlink_to(targets[turn])

    part.place = place


@hostile("disk", (".mhd",))
def voxels_linked_outside(rng: random.Random, case: Case, part: Part) -> None:
    case.outside = True
    part.voxels = None

    def place(path: Path) -> None:
        path.write_bytes(part.data)
        path.with_name(f"{case.name}.raw").symlink_to("../../secret.raw")

    part.place = place


@hostile("disk")
def link_inside(rng: random.Random, case: Case, part: Part) -> None:
    turn = rng.randrange(3)

    def place(path: Path) -> None:
        if turn == 0:
            path.symlink_to(f"../{part.folder}/good.nii.gz")
        elif turn == 1:
            path.symlink_to("..")
        else:
            hidden = path.with_name(f".{case.name}.kept")
            hidden.write_bytes(part.data)
            path.symlink_to(hidden.name)

    part.place = place


@hostile("disk")
def not_readable(rng: random.Random, case: Case, part: Part) -> None:
    def place(path: Path) -> None:
        path.write_bytes(part.data)
        path.chmod(0)

    part.place = place


@hostile("disk")
def half_a_case(rng: random.Random, case: Case, part: Part) -> None:
    part.place = lambda path: None


@hostile("disk", NIFTI)
def both_suffixes(rng: random.Random, case: Case, part: Part) -> None:
    for ext in NIFTI:
        case.extra[f"{part.folder}/{case.name}{ext}"] = part.data


NAMES = (
    "a b {n}", " {n}", "{n} ", "new\nline{n}", "{n}\n", "quo'te\"{n}", "t\tab{n}", "\r{n}",
    "\u00fcn\u00efc\u00f6d\u00e9-\u75c5\u5909{n}", "\U0001f600{n}", "e\u0301{n}", "\u202egnp{n}",
    "--out=elsewhere{n}", "-rf{n}", "--{n}", "$(touch owned){n}", "`id`{n}", "a;b|c&{n}",
    "%s%n%03d{n}", "back\\slash{n}", "c*s?[e]{n}", "{{case}}{n}", "{{ext}}{{lesion:02d}}{n}",
    "x.nii{n}", "{n}.nii.gz.nii", "\x1b[31mred{n}", "\x01\x7f{n}", "null{n}", "1e{n}", "0{n}",
    "a,b={n}", "#{n}", "~{n}", "good\u200b{n}", "GOOD{n}", "con{n}", "L{l}{n}", "M{m}{n}",
    "\udcff{n}",
    "\udc80\udcfe-{n}", "{n}_lesion_01_sample_0",
)  # fmt: skip


@hostile("name")
def strange_name(rng: random.Random, case: Case, part: Part) -> None:
    number = case.name[-2:]
    case.name = rng.choice(NAMES).format(n=number, l="o" * 197, m="\u00f1" * 119)
