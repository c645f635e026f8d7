"""Slices become HU, and a stack of them a RAS volume, whatever holds the files."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from demo.measured import png_bytes, slice_files, write_zip
from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.io import sha256_bytes
from uls_data.outcome import Flag, Reason
from uls_data.sources.deeplesion.png_stack import decode_hu, read_png_stack, unread_stack
from uls_data.sources.measurement import StackSpec

SHAPE = (7, 5, 4)
STACK = StackSpec(SHAPE, (0.7, 0.8, 2.5), first_slice=98, key_slice=99)


@pytest.fixture
def ct_hu(rng: np.random.Generator) -> NDArray[np.int16]:
    return rng.integers(-1024, 3000, SHAPE).astype(np.int16)


@pytest.fixture
def loose(tmp_path: Path, ct_hu: NDArray[np.int16]) -> Path:
    for number, data in slice_files(ct_hu, STACK.first_slice).items():
        (tmp_path / f"{number:03d}.png").write_bytes(data)
    return tmp_path


def reason_of(image: Path, stack: StackSpec = STACK) -> Reason:
    with pytest.raises(CaseError) as caught:
        read_png_stack(image, stack)
    return caught.value.reason


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=40))
def test_every_stored_value_becomes_its_hu(values: list[int]) -> None:
    pixels = np.array([values], np.uint16)
    found = decode_hu(png_bytes(pixels), (len(values), 1), "x.png")
    assert found.dtype == np.int16
    assert found.tolist() == [[value - 32768 for value in values]]


def test_files_of_another_encoder(rng: np.random.Generator) -> None:
    pixels = np.cumsum(rng.integers(0, 40, (40, 30)), axis=1).astype(np.uint16) + 32700
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    assert np.array_equal(decode_hu(file.getvalue(), (30, 40), "x.png"), pixels.astype(int) - 32768)


def test_a_folder_gives_the_volume_in_ras(loose: Path, ct_hu: NDArray[np.int16]) -> None:
    volume = read_png_stack(loose, STACK)
    assert np.array_equal(volume.ras, ct_hu)
    assert volume.stored.dtype == np.int16
    assert volume.flags == (Flag.ARRAY_ORIGIN,)
    assert np.allclose(volume.affine, np.diag([0.7, 0.8, 2.5, 1]), atol=1e-12)
    assert geometry.axis_codes(volume.stored_affine) == "LPI"
    files = sorted(sha256_bytes(path.read_bytes()) for path in loose.iterdir())
    assert volume.sha256 == hash_of(files)


def test_an_archive_gives_the_same_and_leaves_no_files(loose: Path, tmp_path: Path) -> None:
    files = {f"Images_png/a/{path.name}": path.read_bytes() for path in sorted(loose.iterdir())}
    write_zip(tmp_path / "zip" / "x.zip", files)
    packed = read_png_stack(tmp_path / "zip" / "x.zip", replace(STACK, folder="Images_png/a"))
    unpacked = read_png_stack(loose, STACK)
    assert np.array_equal(packed.stored, unpacked.stored)
    assert packed.sha256 == unpacked.sha256
    assert [path.name for path in (tmp_path / "zip").iterdir()] == ["x.zip"]


def test_an_archive_that_changed_is_read_anew(loose: Path, tmp_path: Path) -> None:
    path, stack = tmp_path / "x.zip", replace(STACK, folder="a")
    files = {f"a/{one.name}": one.read_bytes() for one in sorted(loose.glob("*.png"))}
    write_zip(path, files)
    before = read_png_stack(path, stack)
    write_zip(path, files | {"a/098.png": png_bytes(np.zeros((5, 7), np.uint16)), "b": b"b"})
    assert not np.array_equal(read_png_stack(path, stack).stored, before.stored)


def test_the_grid_of_a_stack_that_is_not_read_is_that_of_one_that_is(loose: Path) -> None:
    for stack in (STACK, replace(STACK, spacing_mm=None, neighbours=True)):
        read, unread = read_png_stack(loose, stack), unread_stack(stack)
        assert unread.ras.shape == read.ras.shape
        assert np.array_equal(unread.affine, read.affine)
        assert unread.flags == read.flags
    assert set(read.flags) >= {Flag.SPACING_UNKNOWN, Flag.SLICE_GROUP_HAS_NEIGHBOURS}
    assert geometry.spacing_mm(read.affine) == (1, 1, 1)


def test_rows_and_columns_of_the_table_may_be_exchanged(loose: Path) -> None:
    other = replace(STACK, shape=(5, 7, 4))
    assert read_png_stack(loose, other).ras.shape == SHAPE


def test_missing_slices_have_their_reason(loose: Path) -> None:
    (loose / "100.png").unlink()
    assert reason_of(loose) == Reason.MISSING_SLICES
    (loose / "099.png").unlink()
    assert reason_of(loose) == Reason.KEY_SLICE_MISSING
    assert reason_of(loose / "nothing") == Reason.UNREADABLE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png_bytes(np.zeros((5, 7), np.uint8)), Reason.UNSUPPORTED_FORMAT),
        (png_bytes(np.zeros((5, 8), np.uint16)), Reason.GRID_MISMATCH),
        (png_bytes(np.zeros((7, 5), np.uint16)), Reason.GRID_MISMATCH),
        (png_bytes(np.zeros((5, 7), np.uint16))[:-20], Reason.TRUNCATED_FILE),
        (png_bytes(np.zeros((5, 7), np.uint16))[:20], Reason.TRUNCATED_FILE),
        (b"", Reason.UNREADABLE),
        (b"\xff\xd8\xff\xe0 a JPEG", Reason.UNREADABLE),
        (png_bytes(np.zeros((5, 7), np.uint16)) + bytes(1 << 20), Reason.TOO_LARGE),
    ],
)
def test_what_is_no_slice_has_its_reason(loose: Path, data: bytes, reason: Reason) -> None:
    (loose / "101.png").write_bytes(data)
    assert reason_of(loose) == reason


def test_colour_interlacing_and_size_are_told_from_the_header() -> None:
    good = png_bytes(np.zeros((5, 7), np.uint16))
    for at, value, reason in (
        (25, 2, Reason.UNSUPPORTED_FORMAT),  # RGB
        (25, 3, Reason.UNSUPPORTED_FORMAT),  # palette
        (28, 1, Reason.UNSUPPORTED_FORMAT),  # interlaced
        (16, 255, Reason.TOO_LARGE),  # four thousand million columns
    ):
        bad = bytearray(good)
        bad[at] = value
        with pytest.raises(CaseError) as caught:
            decode_hu(bytes(bad), (7, 5), "x.png")
        assert caught.value.reason == reason


def test_archives_that_cannot_be_trusted(loose: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in sorted(loose.glob("*.png"))}
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    assert reason_of(path) == Reason.UNSUPPORTED_FORMAT
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("099.png", files["098.png"])
    assert reason_of(path) == Reason.AMBIGUOUS_FILES
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data + bytes(50 << 20) if name == "101.png" else data)
    assert path.stat().st_size < 100_000
    assert reason_of(path) == Reason.TOO_LARGE
    path.write_bytes(b"PK\x03\x04 no archive")
    assert reason_of(path) == Reason.UNREADABLE
