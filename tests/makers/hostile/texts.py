"""Damage to the text headers of NRRD and MetaImage, and to where they point."""

from __future__ import annotations

import random
import re

from makers.hostile.parts import ITK, Case, Part, hostile, joined

_VALUES = (
    "", "0", "1", "-1", "3", "4", "nan", "inf", "-inf", "1e30", "1e400", "99999999999", "none",
    "LOCAL", "LIST", "True", "False", "raw", "gzip", "bzip2", "hex", "ascii", "big", "block",
    "double", "uchar", "short", "MET_UCHAR", "MET_DOUBLE", "MET_SHORT_ARRAY", "24 20 16",
    "16 20 24", "24 20 15", "24 20 16 1", "32767 32767 32767", "99999999999 99999999999 1",
    "0 0 0", "-24 20 16", "1 1 1", "nan nan nan", "1e300 1e300 1e300", "1 0 0 1 0 0 0 0 1",
    "0 0 0 0 0 0 0 0 0", "(1,0,0) (1,0,0) (0,0,1)", "(nan,0,0) (0,1,0) (0,0,1)",
    "(0,0,0) (0,0,0) (0,0,0)", "none (0,1,0) (0,0,1)", "(1,0,0)", "(1e38,0,0)",
    "right-anterior-superior", "scanner-xyz", "vector domain domain", "A" * 5000, "\x01\x7f",
    "\u00fc\u4e16", "%s%n%d", "../images", "good.nii.gz", "slice%03d.raw 1 16 1",
)  # fmt: skip
_LINES = (
    "line skip: 1", "line skip: -1", "line skip: 999999999", "byte skip: -1", "byte skip: 5",
    "byte skip: 999999999999", "block size: 999999999", "measurement frame: (1,0,0) (0,1,0)",
    "content: x", "spacings: 1 1 1", "axis mins: 0 0 nan", "thicknesses: 1 1 1", "old min: -1",
    "sample units: \"\\", "space units: \"mm\" \"mm", "key:=value\\n", "data file: good.nii.gz",
    "datafile: x%d.raw 0 15 1 2", "data file: LIST", "data file: SKIPLIST 3", "data file:",
    "ElementNumberOfChannels = 3", "ElementNumberOfChannels = 999999999", "HeaderSize = -1",
    "HeaderSize = 100", "HeaderSize = 99999999999", "ElementByteOrderMSB = True", "NDims = 99",
    "ElementToIntensityFunctionSlope = 2", "ElementToIntensityFunctionOffset = nan",
    "CompressedDataSize = 0", "CompressedDataSize = -1", "CompressedDataSize = 99999999999",
    "BinaryData = False", "ElementDataFile = LIST 2D", "ElementDataFile = ", "ObjectSubType = x",
    "ElementSize = 1 1 1", "Rotation = 1 0 0 0 1 0 0 0 1", "Position = nan 0 0", "=", ":", " ",
)  # fmt: skip


def _text(part: Part) -> tuple[list[str], bytes]:
    """Lines of a text header, and the bytes behind it."""
    end = re.search(rb"\n\n" if part.ext == ".nrrd" else rb"ElementDataFile[^\n]*\n", part.content)
    stop = end.end() if end else len(part.content)
    head = part.content[:stop].decode("utf-8", "surrogateescape")
    return head.split("\n")[:-1], part.content[stop:]


@hostile("content", ITK)
def text_header(rng: random.Random, case: Case, part: Part) -> None:
    lines, rest = _text(part)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(max(len(lines), 1))
        turn = rng.randrange(6)
        if turn == 0 and lines:
            del lines[at]
        elif turn == 1 and lines:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif turn == 2 and lines:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif turn == 3:
            lines.insert(at, rng.choice(_LINES))
        elif lines:
            mark = ": " if part.ext == ".nrrd" else " = "
            lines[at] = lines[at].partition(mark)[0] + mark + rng.choice(_VALUES)
    part.content = joined(lines, rest, "\r\n" if rng.random() < 0.05 else "\n")


@hostile("content", ITK)
def text_dimension_bomb(rng: random.Random, case: Case, part: Part) -> None:
    lines, rest = _text(part)
    sizes = rng.choice(("32767 32767 32767", "2000 2000 2000", "4294967295 4294967295 4294967295"))
    mark = "sizes: " if part.ext == ".nrrd" else "DimSize = "
    lines = [mark + sizes if line.startswith(mark) else line for line in lines]
    part.content = joined(lines, rest)


@hostile("content", ITK)
def compressed_payload(rng: random.Random, case: Case, part: Part) -> None:
    """Damage in a compressed payload, most of it in what only a checksum can tell."""
    lines, rest = _text(part)
    data = bytearray(part.voxels if part.voxels is not None else rest)
    if not data:
        return
    at = rng.choice((len(data) - 1 - rng.randrange(min(9, len(data))), rng.randrange(len(data))))
    if rng.random() < 0.7:
        data[at] ^= 1 << rng.randrange(8)
    else:
        data = data[:at]
    if part.voxels is not None:
        part.voxels = bytes(data)
    else:
        part.content = joined(lines, bytes(data))


@hostile("content", ITK)
def detached_outside(rng: random.Random, case: Case, part: Part) -> None:
    """Name the secret, in every way that a header can; a twin of it lies in no raw root."""
    lines, rest = _text(part)
    target = rng.choice(("../../secret.raw", "{base}/secret.raw", "../masks/../../secret.raw"))
    style = rng.randrange(4)
    if part.ext == ".nrrd":
        names = ("data file", "datafile", "Data File", "DATA FILE")
        line = f"{rng.choice(names)}: {target}"
        if style == 3:
            line = f"data file: LIST\n{target}"
        lines[-1:-1] = [line]
        rest = b"" if style else rest
    else:
        spelling = ("ElementDataFile = ", "ElementDataFile=", "ElementDataFile : ")[style % 3]
        line = f"ElementDataFile = LIST\n{target}" if style == 3 else spelling + target
        lines = [line if old.startswith("ElementDataFile") else old for old in lines]
        lines = [old.replace("CompressedData = True", "CompressedData = False") for old in lines]
        part.voxels = None
    part.content = joined(lines, rest)
    case.outside = True
