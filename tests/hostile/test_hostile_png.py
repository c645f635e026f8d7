"""Damaged PNG slices, archives and tables: a reason each, never a traceback, no wrong HU.

Every fault is drawn from a seed. What a decoder accepts must be what was written.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from demo.measured import make_deeplesion, png_bytes, table_bytes, table_row, write_zip
from uls_data.errors import CaseError, SourceError
from uls_data.measure.lines import Lines
from uls_data.outcome import Reason
from uls_data.profile import PROFILES
from uls_data.recipe import load_recipe
from uls_data.recipe.reader import DeepLesion
from uls_data.sources.deeplesion.lesions import open_deeplesion
from uls_data.sources.deeplesion.png_stack import decode_hu, read_png_stack
from uls_data.sources.find import find_cases
from uls_data.sources.measurement import StackSpec

SEEDS = range(40)
RECIPE = load_recipe("deeplesion").recipe


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes changed in one of five ways."""
    at = int(rng.integers(len(data)))
    until = min(len(data), at + int(rng.integers(1, 40)))
    way = int(rng.integers(5))
    if way == 0:
        return data[:at]
    if way == 1:
        return data[:at] + bytes([data[at] ^ (1 << int(rng.integers(8)))]) + data[at + 1 :]
    if way == 2:
        return data[:at] + data[until:]
    if way == 3:
        return data[:at] + rng.bytes(until - at) + data[until:]
    return data[:until] + data[at:]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_slice_has_a_reason_or_its_own_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(31000, 36000, (20, 30)).astype(np.uint16)
    for _ in range(25):
        try:
            found = decode_hu(damaged(png_bytes(pixels), rng), (30, 20), "x.png")
        except CaseError as error:
            assert "x.png: " in error.detail
        else:
            assert np.array_equal(found, pixels.astype(int) - 32768)


@pytest.mark.parametrize("rows", [0, 3, 19, 21, 4000])
def test_pixels_that_are_too_few_or_too_many(rows: int) -> None:
    """Check sums are right, the number of lines is not the header's: Pillow would take it."""
    good = png_bytes(np.full((20, 30), 32768, np.uint16))
    packed = zlib.compress(bytes(61 * rows))
    chunk = len(packed).to_bytes(4, "big") + b"IDAT" + packed
    chunk += zlib.crc32(b"IDAT" + packed).to_bytes(4, "big")
    data = good[:33] + chunk + good[-12:]
    with pytest.raises(CaseError, match=r"fewer|more") as caught:
        decode_hu(data, (30, 20), "x.png")
    assert caught.value.reason == Reason.UNREADABLE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_archive_has_a_reason_or_its_own_values(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(31000, 36000, (8, 9)).astype(np.uint16)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if seed % 2 else 0) as archive:
        for number in (3, 4):
            archive.writestr(f"Images_png/1_1_1/{number:03d}.png", png_bytes(pixels))
    stack = StackSpec((9, 8, 2), (1, 1, 1), 3, 4, folder="Images_png/1_1_1")
    for number in range(8):
        path = tmp_path / f"{number}.zip"
        path.write_bytes(damaged(file.getvalue(), rng))
        try:
            found = read_png_stack(path, stack)
        except CaseError:
            continue
        assert np.array_equal(found.stored[:, :, 0].T, pixels.astype(int) - 32768)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_damaged_table_loses_rows_and_nothing_else(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lines = Lines((30, 40, 50, 40), (40, 33, 40, 46))
    rows = [table_row(f"00000{n}_01_01", 106, lines, (96, 80, 13), 100) for n in range(1, 6)]
    path = tmp_path / "DL_info.csv"
    for _ in range(6):
        path.write_bytes(damaged(table_bytes(rows), rng))
        try:
            cases = find_cases(RECIPE, tmp_path, need_images=False)
        except SourceError:
            continue
        for case in cases:
            assert case.problem is not None or case.stack is not None
            assert [m.number for m in case.measurements] == list(
                range(1, len(case.measurements) + 1)
            )


def test_an_archive_of_faults_opens_case_by_case(tmp_path: Path) -> None:
    make_deeplesion(tmp_path, 2)
    rng = np.random.default_rng(5)
    for path in sorted(tmp_path.rglob("*.png"))[::5]:
        path.write_bytes(damaged(path.read_bytes(), rng))
    reader = RECIPE.reader
    assert isinstance(reader, DeepLesion)
    good = 0
    for case in find_cases(RECIPE, tmp_path):
        if case.problem is not None:
            continue
        try:
            open_deeplesion(case, reader, tmp_path, labels_only=False, profile=PROFILES["paper"])
            good += 1
        except CaseError:
            pass
    assert good == 5  # those in the archive, which was left alone


def test_a_member_that_claims_to_be_small_is_read_no_further(tmp_path: Path) -> None:
    """A forged size in the archive's directory does not let more through."""
    name = "Images_png/1_1_1/003.png"
    write_zip(tmp_path / "x.zip", {name: png_bytes(np.zeros((8, 9), np.uint16))})
    data = bytearray((tmp_path / "x.zip").read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = (10).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    stack = StackSpec((9, 8, 1), None, 3, 3, folder="Images_png/1_1_1")
    with pytest.raises(CaseError):
        read_png_stack(tmp_path / "x.zip", stack)
