"""Small CT series that are damaged in one or two ways, as a function of a seed."""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from makers.dicom import file_bytes, positions_mm, slice_of

MARK = "Muster^Geheim"
SHAPE = (40, 36, 4)
SYNTAXES = [
    *(uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian),
    *(uid.RLELossless, uid.JPEG2000Lossless),
]
OTHER_SYNTAXES = [
    *(uid.DeflatedExplicitVRLittleEndian, uid.JPEGLosslessSV1, uid.JPEGBaseline8Bit, uid.JPEG2000),
    *(uid.MPEG2MPML, uid.JPEGLSLossless, uid.HTJ2K, "1.2.3.4", MARK, ""),
]
TEXTS = (
    *("AccessionNumber", "Manufacturer", "InstitutionName", "InstitutionAddress", "StudyID"),
    *("ReferringPhysicianName", "StationName", "StudyDescription", "SeriesDescription"),
    *("OperatorsName", "PatientName", "PatientID", "PatientComments", "ImageComments"),
    *("PatientAddress", "ProtocolName", "DeviceSerialNumber", "PositionReferenceIndicator"),
)
NUMBERS = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope"),
    *("RescaleIntercept", "InstanceNumber", "NumberOfFrames"),
)
INTEGERS = (
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("SamplesPerPixel", "PixelPaddingValue"),
)
CODES = (
    *("Modality", "ImageType", "PhotometricInterpretation", "SOPClassUID", "SOPInstanceUID"),
    *("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "SpecificCharacterSet"),
)
ODD_NUMBERS = "nan inf -inf 1e308 -1e308 1e-308 0 -1 1 1_0 0x10 9999999999999999 1e5 2".split()  # noqa: SIM905
ODD_INTEGERS = (0, 1, 2, 7, 8, 12, 15, 16, 17, 31, 32, 35, 37, 64, 255, 4096, 8192, 32768, 65535)

Change = Callable[[random.Random, Dataset], None]
Damage = Callable[[random.Random, bytearray], None]
CHANGES: list[Change] = []
DAMAGES: list[Damage] = []
PLACES: list[Callable[[random.Random, Path], None]] = []


# --- changes of the data set, before it is written -------------------------------------------


@CHANGES.append
def odd_number(rng: random.Random, dataset: Dataset) -> None:
    keyword = rng.choice(NUMBERS)
    count = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
    wanted = max(0, count.get(keyword, 1) + rng.choice([0, 0, 0, 0, -1, 1]))
    values = [rng.choice([*ODD_NUMBERS, MARK]) for _ in range(wanted)]
    if rng.random() < 0.5 and keyword in dataset and wanted == count.get(keyword, 1):
        kept = dataset[keyword].value
        kept = [str(v) for v in kept] if wanted > 1 else [str(kept)]
        at = rng.randrange(wanted)
        values = [value if k == at else kept[k] for k, value in enumerate(values)]
    dataset.add_new(pydicom.datadict.tag_for_keyword(keyword), "LO", "\\".join(values))


@CHANGES.append
def odd_integer(rng: random.Random, dataset: Dataset) -> None:
    tag = pydicom.datadict.tag_for_keyword(rng.choice(INTEGERS))
    value: Any = rng.choice(ODD_INTEGERS)
    kind = rng.choice(["US", "US", "US", "UL", "LO"])
    dataset.add_new(tag, kind, rng.choice([MARK, ""]) if kind == "LO" else value)


@CHANGES.append
def lying_size(rng: random.Random, dataset: Dataset) -> None:
    dataset.add_new(0x00280010, "US", rng.choice([8192, 8191, 65535, 36, 1]))
    dataset.add_new(0x00280011, "US", rng.choice([8192, 8191, 65535, 40, 1]))


@CHANGES.append
def odd_code(rng: random.Random, dataset: Dataset) -> None:
    tag = pydicom.datadict.tag_for_keyword(rng.choice(CODES))
    dataset.add_new(tag, "LO", rng.choice([MARK, "", "1.2.3", "CT", "ISO 2022 IR 87", "x" * 64]))


@CHANGES.append
def missing(rng: random.Random, dataset: Dataset) -> None:
    dataset.pop(rng.choice([*NUMBERS, *INTEGERS, *CODES]), None)


@CHANGES.append
def nested(rng: random.Random, dataset: Dataset) -> None:
    """Sequences in sequences, deeper than Python's own stack."""
    inner = Dataset()
    inner.PatientComments = MARK
    for _ in range(rng.choice([3, 60])):
        outer = Dataset()
        outer.ReferencedStudySequence = Sequence([inner])
        outer["ReferencedStudySequence"].is_undefined_length = rng.random() < 0.8
        inner.is_undefined_length_sequence_item = rng.random() < 0.8
        inner = outer
    dataset.ReferencedStudySequence = Sequence([inner])
    dataset["ReferencedStudySequence"].is_undefined_length = True


# --- damages of the bytes --------------------------------------------------------------------


@DAMAGES.append
def cut_short(rng: random.Random, data: bytearray) -> None:
    del data[rng.randrange(len(data)) :]


@DAMAGES.append
def flipped_bits(rng: random.Random, data: bytearray) -> None:
    end = min(len(data), rng.choice([1200, len(data)]))
    for _ in range(rng.choice([1, 3, 20, 200])):
        data[rng.randrange(end)] ^= 1 << rng.randrange(8)


@DAMAGES.append
def overwritten(rng: random.Random, data: bytearray) -> None:
    at, count = rng.randrange(len(data)), rng.choice([1, 2, 4, 16, 64])
    data[at : at + count] = bytes([rng.choice([0, 0xFF, 0x41])]) * count


@DAMAGES.append
def inserted(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    data[at:at] = rng.choice([rng.randbytes(rng.choice([1, 8, 60])), MARK.encode() * 9])


@DAMAGES.append
def removed(rng: random.Random, data: bytearray) -> None:
    at = rng.randrange(len(data))
    del data[at : at + rng.choice([1, 2, 8, 100])]


@DAMAGES.append
def lying_length(rng: random.Random, data: bytearray) -> None:
    """An element of the image module, or the pixels, with another length."""
    heads = [struct.pack("<HH", 0x28, e) for e in (2, 4, 0x10, 0x11, 0x30, 0x100, 0x1052)]
    head = rng.choice([*heads, b"\xe0\x7f\x10\0", b"\x20\0\x32\0", b"\xfe\xff\0\xe0"])
    at = data.rfind(head) + 4
    if at >= 4:
        length = rng.choice([0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF, 0, 1, 1 << 20, 1 << 16])
        where = at + 4 if data[at : at + 2] in (b"OW", b"OB") else at
        if data[at : at + 2].isalpha() and where == at:
            struct.pack_into("<H", data, at + 2, length & 0xFFFF)
        elif where + 4 <= len(data):
            struct.pack_into("<L", data, where, length)


@DAMAGES.append
def deep_sequences(rng: random.Random, data: bytearray) -> None:
    """Sequences that are opened and never closed, in the midst of the header."""
    at = data.find(b"\x10\0\x10\0")
    opened = b"\x09\0\x10\x10" + rng.choice([b"", b"SQ\0\0", b"UN\0\0"]) + b"\xff" * 4
    opened += b"\xfe\xff\0\xe0" + b"\xff" * 4
    data[max(at, 0) : max(at, 0)] = opened * rng.choice([1, 50, 5000, 200_000])


@DAMAGES.append
def other_syntax(rng: random.Random, data: bytearray) -> None:
    at = data.find(b"\x02\0\x10\0UI")
    if at >= 0:
        length = int.from_bytes(data[at + 6 : at + 8], "little")
        value = rng.choice([*SYNTAXES, *OTHER_SYNTAXES]).encode()
        data[at + 8 : at + 8 + length] = value[:length].ljust(length, b"\0")


@cache
def bomb() -> bytes:
    """Some hundred kilobytes that become 300 MB."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(300)) + packer.flush()


@DAMAGES.append
def deflate_bomb(_: random.Random, data: bytearray) -> None:
    syntax = uid.DeflatedExplicitVRLittleEndian.encode()
    data[132:] = b"\x02\0\x10\0UI\x16\0" + syntax + bomb()


@DAMAGES.append
def no_preamble(_: random.Random, data: bytearray) -> None:
    del data[:132]


@DAMAGES.append
def twice(_: random.Random, data: bytearray) -> None:
    data += data[132:]


@DAMAGES.append
def damaged_pixels(rng: random.Random, data: bytearray) -> None:
    """Bits of a codestream: its main header, its offsets, its data."""
    at = max(data.rfind(b"\xe0\x7f\x10\0"), data.rfind(b"\x7f\xe0\0\x10"), 0)
    end = min(len(data), at + rng.choice([100, 160, 400, 4000]))
    for _ in range(rng.choice([1, 4, 40])):
        data[rng.randrange(at, end)] = rng.choice([0, 0xFF, rng.randrange(256)])


# --- what lies in the place of a file --------------------------------------------------------


@PLACES.append
def fifo(_: random.Random, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@PLACES.append
def folder(_: random.Random, path: Path) -> None:
    path.unlink()
    path.mkdir()


@PLACES.append
def loop(_: random.Random, path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@PLACES.append
def link_out(_: random.Random, path: Path) -> None:
    outside = path.parent.parent / "outside.dcm"
    path.rename(outside)
    path.symlink_to(outside)


@PLACES.append
def sparse(rng: random.Random, path: Path) -> None:
    os.truncate(path, rng.choice([1 << 27, 1 << 34]))


@PLACES.append
def empty(_: random.Random, path: Path) -> None:
    path.write_bytes(b"")


@PLACES.append
def copied(_: random.Random, path: Path) -> None:
    path.with_name("copy.dcm").write_bytes(path.read_bytes())


def write_case(root: Path, rng: random.Random) -> list[str]:
    """Write one hostile series; returns what was done to it."""
    syntax = rng.choice(SYNTAXES)
    volume = np.random.default_rng(rng.randrange(1 << 30)).integers(0, 4000, SHAPE)
    kind = rng.choice([np.uint16, np.int16])
    done = [uid.UID(syntax).name]
    changes = [rng.choice(CHANGES) for _ in range(rng.choice([0, 0, 1, 2]))]
    damages = [rng.choice(DAMAGES) for _ in range(rng.choice([0, 1, 1, 2]))]
    hit = set(range(SHAPE[2])) if rng.random() < 0.4 else {rng.randrange(SHAPE[2])}
    seed = rng.randrange(1 << 30)
    for k, position in enumerate(positions_mm(SHAPE[2])):
        pixels = np.ascontiguousarray(volume[:, :, k].T.astype(kind))
        dataset = slice_of(pixels, position, k + 1)
        dataset.BitsStored, dataset.HighBit = (
            12 + 4 * (kind is np.int16),
            11 + 4 * (kind is np.int16),
        )
        for keyword in TEXTS:
            setattr(dataset, keyword, MARK)
        dataset.private_block(0x0011, MARK, create=True).add_new(1, "LT", MARK)
        data = bytearray(file_bytes(dataset, syntax))
        if k in hit and changes:
            # Read back, so that pixels stay encoded as they are.
            again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(bytes(data)))
            own = random.Random(seed)
            for change in changes:
                change(own, again)
            buffer = pydicom.filebase.DicomBytesIO()
            again.save_as(buffer, enforce_file_format=True)
            data = bytearray(buffer.getvalue())
        if k in hit:
            own = random.Random(seed)
            for damage in damages:
                damage(own, data)
        (root / f"{k}.dcm").write_bytes(data)
    if rng.random() < 0.15:
        place = rng.choice(PLACES)
        place(rng, root / f"{rng.randrange(SHAPE[2])}.dcm")
        done.append(place.__name__)
    names = [function.__name__ for function in (*changes, *damages)]
    return [*done, *names, f"slices {sorted(hit)}"]
