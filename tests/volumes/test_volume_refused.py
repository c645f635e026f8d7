"""Volumes that are damaged, cut short, hostile or none: the reason why not."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import example, given
from hypothesis import strategies as st
from makers.volumes import (
    AFFINE,
    ARRAY,
    SHAPE,
    nifti_bytes,
    patched,
    put,
    read,
    reason_of,
    write_as,
)

from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.volumes import read_volume


@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4, 100, 347, 348, 352, 400, -1])
def test_truncated_files(tmp_path: Path, cut: int) -> None:
    plain = nifti_bytes()
    assert reason_of(put(tmp_path, "cut.nii", plain[:cut])) is Reason.TRUNCATED_FILE
    packed = gzip.compress(plain)
    short = packed[: cut * len(packed) // len(plain) if cut > 0 else cut]
    if cut:  # without a byte, nothing says gzip
        assert reason_of(put(tmp_path, "cut.nii.gz", short)) is Reason.TRUNCATED_FILE
    # A whole gzip stream of a truncated file.
    assert (
        reason_of(put(tmp_path, "inside.nii.gz", gzip.compress(plain[:cut])))
        is Reason.TRUNCATED_FILE
    )


@pytest.mark.parametrize("form", ["mha", "nrrd", "mhd", "nrrd gzip"])
def test_truncated_itk_files(tmp_path: Path, form: str) -> None:
    path = write_as(tmp_path, form, ARRAY, AFFINE)
    voxels = path.with_suffix(".raw") if form == "mhd" else path
    voxels.write_bytes(voxels.read_bytes()[:-20])
    assert reason_of(path) in (Reason.TRUNCATED_FILE, Reason.UNREADABLE)


def test_damaged_gzip_fails_its_checksum(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(nifti_bytes(), 0))  # stored: a flip stays valid deflate
    packed[-20] ^= 1
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(bytes(packed))
    assert reason_of(put(tmp_path, "flip.nii.gz", bytes(packed))) is Reason.UNREADABLE
    packed = bytearray(gzip.compress(nifti_bytes()))
    packed[-8] ^= 1  # the checksum itself
    assert reason_of(put(tmp_path, "sum.nii.gz", bytes(packed))) is Reason.UNREADABLE


def test_more_data_than_the_header_says(tmp_path: Path) -> None:
    longer = gzip.compress(nifti_bytes() + b"\0" * 70_000)
    assert reason_of(put(tmp_path, "longer.nii.gz", longer)) is Reason.UNREADABLE
    plain = put(tmp_path, "longer.nii", nifti_bytes() + b"\0" * 70_000)
    assert reason_of(plain) is Reason.UNREADABLE
    member = gzip.compress(nifti_bytes()) + gzip.compress(b"\0" * 70_000)
    assert reason_of(put(tmp_path, "member.nii.gz", member)) is Reason.UNREADABLE
    garbage = gzip.compress(nifti_bytes()) + b"no gzip member"
    assert reason_of(put(tmp_path, "garbage.nii.gz", garbage)) is Reason.UNREADABLE
    # Some tools pad gzip files with zeros, which gzip itself ignores.
    padded = put(tmp_path, "padded.nii.gz", gzip.compress(nifti_bytes()) + b"\0" * 512)
    np.testing.assert_array_equal(read(padded).ras, ARRAY)


def _huge(name: str, dims: tuple[int, int, int]) -> bytes:
    if name.endswith((".nii", ".nii.gz")):
        data = patched(nifti_bytes(), 42, "3h", *dims)
        return gzip.compress(data) if name.endswith(".gz") else data
    if name.endswith(".nrrd"):
        sizes = " ".join(map(str, dims))
        return (
            f"NRRD0004\ntype: short\ndimension: 3\nsizes: {sizes}\nencoding: raw\nendian: little"
            "\nspace: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)"
            "\nspace origin: (0,0,0)\n\n"
        ).encode() + bytes(100)
    sizes = " ".join(map(str, dims))
    return (
        f"ObjectType = Image\nNDims = 3\nDimSize = {sizes}\nElementType = MET_SHORT\n"
        "BinaryData = True\nElementDataFile = LOCAL\n"
    ).encode() + bytes(100)


@pytest.mark.parametrize("dims", [(32767, 32767, 32767), (2000, 2000, 2000)])
@pytest.mark.parametrize("name", ["huge.nii", "huge.nii.gz", "huge.nrrd", "huge.mha"])
def test_huge_shapes_are_refused_before_allocation(
    tmp_path: Path, name: str, dims: tuple[int, int, int]
) -> None:
    path = put(tmp_path, name, _huge(name, dims))
    tracemalloc.start()
    reason = reason_of(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reason in (Reason.TRUNCATED_FILE, Reason.TOO_LARGE)
    assert peak < 20e6


def test_nifti_2_cannot_claim_more_than_64_bits(tmp_path: Path) -> None:
    data = bytearray(nifti_bytes(kind=nib.Nifti2Image))
    struct.pack_into("<3q", data, 24, 1 << 62, 1 << 62, 1 << 62)
    assert reason_of(put(tmp_path, "huge.nii", bytes(data))) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        *(
            (kind, bad)
            for kind in (nib.Nifti1Image, nib.Nifti2Image)
            for bad in ("nan", "zero column", "singular", "infinite")
        ),
        (nib.Nifti2Image, "overflow"),
    ],
)
def test_bad_affines(tmp_path: Path, kind: Any, bad: str) -> None:
    affine = AFFINE.copy()
    if bad == "zero column":
        affine[:3, 1] = 0
    elif bad == "singular":
        affine[:3, 1] = affine[:3, 0]
    else:
        affine[0, 0] = {"nan": np.nan, "infinite": np.inf, "overflow": 1e300}[bad]
    image = kind(ARRAY, AFFINE)
    for at, field in enumerate(("srow_x", "srow_y", "srow_z")):
        image.header[field] = affine[at]
    image.header["sform_code"] = 1
    # nibabel would write the image's own affine; only the header's bytes are wanted.
    image.header["vox_offset"] = len(image.header.binaryblock) + 4
    image.header["magic"] = kind(ARRAY, AFFINE).header["magic"]
    data = image.header.binaryblock + bytes(4) + ARRAY.tobytes("F")
    assert reason_of(put(tmp_path, "affine.nii", data)) is Reason.BAD_AFFINE


def test_what_is_no_volume(tmp_path: Path) -> None:
    for name in ("empty.nii", "empty.nii.gz", "empty.mha", "empty.mhd", "empty.nrrd"):
        assert reason_of(put(tmp_path, name, b"")) in (Reason.TRUNCATED_FILE, Reason.UNREADABLE)
    for name in ("text.nii", "text.nii.gz", "text.mha", "text.mhd", "text.nrrd"):
        path = put(tmp_path, name, b"<html>404: the file you want is not here</html>\n" * 20)
        assert reason_of(path) is Reason.UNREADABLE
    (tmp_path / "folder.nii.gz").mkdir()
    assert reason_of(tmp_path / "folder.nii.gz") is Reason.UNREADABLE
    assert reason_of(tmp_path / "absent.nii.gz") is Reason.UNREADABLE
    os.mkfifo(tmp_path / "pipe.nii")
    assert reason_of(tmp_path / "pipe.nii") is Reason.UNREADABLE
    assert reason_of(put(tmp_path, "scan.png", b"\x89PNG")) is Reason.UNSUPPORTED_FORMAT
    for code in (230, -1, 3):
        unknown = put(tmp_path, "type.nii", patched(nifti_bytes(), 70, "h", code))
        assert reason_of(unknown) is Reason.UNSUPPORTED_FORMAT, code
    pair = bytearray(nifti_bytes())
    pair[344:348] = b"ni1\0"
    assert reason_of(put(tmp_path, "half.nii", bytes(pair))) is Reason.UNSUPPORTED_FORMAT


def test_gzip_under_a_plain_name_and_the_other_way_round(tmp_path: Path) -> None:
    for name, data in (("a.nii", gzip.compress(nifti_bytes())), ("b.nii.gz", nifti_bytes())):
        np.testing.assert_array_equal(read(put(tmp_path, name, data)).ras, ARRAY)


def _mhd(target: str, comment: int = 0) -> bytes:
    return (
        "ObjectType = Image\nNDims = 3\n"
        + "".join(f"Comment = {'x' * 60}\n" for _ in range(comment))
        + "DimSize = 5 4 3\nElementType = MET_SHORT\nBinaryData = True\n"
        f"ElementDataFile = {target}\n"
    ).encode()


def test_detached_voxels_stay_inside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    outside = put(tmp_path, "secret.raw", ARRAY.tobytes("F"))
    put(root, "inside.raw", ARRAY.tobytes("F"))
    assert read(put(root, "good.mhd", _mhd("inside.raw"))).ras.shape == SHAPE
    up = put(root / "sub", "up.mhd", _mhd("../inside.raw"))
    assert read_volume(up, root).ras.shape == SHAPE
    (root / "link.raw").symlink_to(outside)
    for target in ("../secret.raw", str(outside), "link.raw"):
        assert reason_of(put(root, "bad.mhd", _mhd(target))) is Reason.PATH_LEAVES_ROOT
    assert reason_of(put(root, "missing.mhd", _mhd("absent.raw"))) is Reason.UNREADABLE
    assert reason_of(put(root, "nul.mhd", _mhd("a\0b.raw"))) is Reason.UNREADABLE
    assert reason_of(put(root, "list.mhd", _mhd("LIST"))) is Reason.UNSUPPORTED_FORMAT
    assert reason_of(put(root, "many.mhd", _mhd("z%d.raw 1 3 1"))) is Reason.UNSUPPORTED_FORMAT


def _detached_nrrd(*lines: str) -> bytes:
    head = (
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 3\nencoding: raw\nendian: little\n"
        "space: left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
        "space origin: (0,0,0)\n"
    )
    return (head + "".join(f"{line}\n" for line in lines) + "\n").encode()


def test_detached_nrrd_stays_inside_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    outside = put(tmp_path, "secret.raw", ARRAY.tobytes("F"))
    put(root, "inside.raw", ARRAY.tobytes("F"))
    good = put(root, "good.nrrd", _detached_nrrd("data file: inside.raw"))
    assert read(good).ras.shape == SHAPE
    for line in (f"data file: {outside}", f"datafile: {outside}", f"Data File: {outside}"):
        bad = put(root, "bad.nrrd", _detached_nrrd(line))
        assert reason_of(bad) is Reason.PATH_LEAVES_ROOT, line


def _hidden(form: str, outside: Path) -> tuple[str, bytes]:
    if form == "beyond 64 KiB of .mhd":
        return "bad.mhd", _mhd(str(outside), comment=2000)
    if form == "beyond 64 KiB of .nrrd":
        long = [f"# {'x' * 60}" for _ in range(2000)]
        return "bad.nrrd", _detached_nrrd(*long, f"data file: {outside}")
    if form == "key/value pair named like the field":
        return "bad.nrrd", _detached_nrrd("data file:=decoy", f"data file: {outside}")
    if form == "lines end in CR LF":
        crlf = _detached_nrrd(f"data file: {outside}").replace(b"\n", b"\r\n")
        return "bad.nrrd", crlf
    if form == "NRRD under another name":
        return "bad.mha", _detached_nrrd(f"data file: {outside}")
    spelling = {"colon": "ElementDataFile:", "lower": "elementdatafile ="}.get(form, form)
    data = _mhd(str(outside)).replace(b"ElementDataFile =", spelling.encode())
    return "bad.mhd", data


@pytest.mark.parametrize(
    "form",
    [
        "beyond 64 KiB of .mhd",
        "beyond 64 KiB of .nrrd",
        "key/value pair named like the field",
        "lines end in CR LF",
        "NRRD under another name",
        "colon",
        "lower",
        "ElementDataFile\t=",
        "Comment = x\rElementDataFile =",
        "Comment = x\x0b\nElementDataFile =",
    ],
)
def test_a_header_cannot_hide_the_file_it_names(tmp_path: Path, form: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    outside = put(tmp_path, "secret.raw", ARRAY.tobytes("F"))
    put(root, "=decoy", b"")
    name, data = _hidden(form, outside)
    # Any reason will do, as long as no voxel of the file outside is given.
    with pytest.raises(CaseError):
        read(put(root, name, data))


def test_hash_is_that_of_the_file(tmp_path: Path) -> None:
    for form in ("nii", "nii.gz", "nii.gz members", "mha", "nrrd"):
        path = write_as(tmp_path, form, ARRAY, AFFINE)
        assert read(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_hash_of_two_files_covers_both(tmp_path: Path) -> None:
    path = write_as(tmp_path, "mhd", ARRAY, AFFINE)
    first = read(path).sha256
    voxels = path.with_suffix(".raw")
    voxels.write_bytes(voxels.read_bytes()[::-1])
    second = read(path).sha256
    path.write_bytes(path.read_bytes().replace(b"0.75", b"0.76"))
    assert len({first, second, read(path).sha256}) == 3


BASES = {
    "small.nii": nifti_bytes(),
    "two.nii": nifti_bytes(kind=nib.Nifti2Image),
    "small.nii.gz": gzip.compress(nifti_bytes(), mtime=0),
    "stored.nii.gz": gzip.compress(nifti_bytes(), 0, mtime=0),
    "inside.nii.gz": nifti_bytes(),  # damaged, then packed as if nothing had happened
    "small.nrrd": _detached_nrrd() + ARRAY.tobytes("F"),
    "small.mha": _mhd("LOCAL") + ARRAY.tobytes("F"),
}


@given(
    st.sampled_from(sorted(BASES)),
    st.lists(st.tuples(st.integers(0, 700), st.integers(1, 255)), max_size=4),
    st.none() | st.integers(0, 700),
)
@example("small.nii", [(43, 127)], None)  # dim[1]
@example("small.nii", [(71, 1)], None)  # datatype
@example("inside.nii.gz", [(70, 64)], None)
@example("small.mha", [(_mhd("LOCAL").index(b"LOCAL") + 2, ord("C"))], None)  # a NUL in a name
def test_no_damage_raises_anything_but_a_reason(
    tmp_path_factory: pytest.TempPathFactory, base: str, flips: list[tuple[int, int]], cut: Any
) -> None:
    data = bytearray(BASES[base])
    for at, bits in flips:
        data[at % len(data)] ^= bits
    whole = bytes(data[:cut])
    packed = gzip.compress(whole, 1) if base.startswith("inside") else whole
    path = put(tmp_path_factory.getbasetemp(), base, packed)
    try:
        volume = read(path)
    except CaseError as error:
        assert error.detail
    else:
        assert volume.ras.ndim == 3
        assert np.isfinite(volume.affine).all()


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd"])
def test_damaged_compressed_voxels_are_no_success(tmp_path: Path, name: str) -> None:
    """ITK decodes them without a look at their check sum."""
    image = sitk.GetImageFromArray(np.arange(24 * 20 * 16, dtype="i2").reshape(16, 20, 24))
    path = tmp_path / name
    sitk.WriteImage(image, str(path), True)
    read_volume(path, tmp_path)
    packed = path if name != "a.mhd" else path.with_suffix(".zraw")
    good = packed.read_bytes()
    for at in (len(good) - 2, len(good) - 300):
        packed.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        with pytest.raises(CaseError) as caught:
            read_volume(path, tmp_path)
        assert caught.value.reason in (Reason.UNREADABLE, Reason.TRUNCATED_FILE)
    packed.write_bytes(good[:-40])
    with pytest.raises(CaseError):
        read_volume(path, tmp_path)
