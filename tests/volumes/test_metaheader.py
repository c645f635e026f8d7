"""MetaImage and NRRD without ITK: the same voxels and affines as its readers give, or a reason."""

from __future__ import annotations

import bz2
import hashlib
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from makers.headers import PAYLOAD, VOXELS, assert_as_itk, by_itk, metaimage, nrrd, put

import uls_data
from uls_data.outcome import Flag
from uls_data.recipe import recipe_template
from uls_data.volumes import read_volume
from uls_data.volumes.metaheader import declared_size, voxel_files

FORMS = ["a.mha", "a.mhd", "a.nrrd"]
TYPES = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"]
ZLIB = zlib.compress(PAYLOAD)


@st.composite
def volumes(draw: st.DrawFn) -> tuple[Any, str, bool]:
    """Image of SimpleITK's: any type, size, tilt and place; the form; whether it is packed."""
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    voxels = np.frombuffer(rng.bytes(8 * int(np.prod(shape))), np.uint8)
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    voxels = voxels.view("u8").astype(dtype).reshape(shape)
    image = sitk.GetImageFromArray(voxels)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    image.SetDirection(turn.ravel().tolist() if draw(st.booleans()) else np.eye(3).ravel().tolist())
    image.SetSpacing([draw(st.floats(0.021, 24.9)) for _ in range(3)])
    # MetaIO takes the smallest numbers of all for zero.
    image.SetOrigin([draw(st.floats(-1e4, 1e4, allow_subnormal=False)) for _ in range(3)])
    if draw(st.integers(0, 4)) == 0:
        image = sitk.JoinSeries([image])
    return image, draw(st.sampled_from(FORMS)), draw(st.booleans())


@given(volumes())
def test_what_simpleitk_writes_is_read_as_it_reads_it(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[Any, str, bool]
) -> None:
    image, name, packed = made
    path = tmp_path_factory.getbasetemp() / name
    sitk.WriteImage(image, str(path), packed)
    volume = read_volume(path, path.parent)
    assert_as_itk(volume, path)
    dropped = image.GetDimension() == 4
    assert volume.flags == ((Flag.TRAILING_AXIS_DROPPED,) if dropped else ())
    assert isinstance(volume.stored, np.memmap) is not packed


@pytest.mark.parametrize("name", ["x.mhd", "x.nrrd"])
def test_voxels_in_another_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    put(tmp_path / "sub", "v ö.bin", b"ab" + PAYLOAD)
    file = "./sub/../sub/v ö.bin"
    head = metaimage("HeaderSize = 2", file=file, payload=b"")
    if name == "x.nrrd":
        # A header of its own needs no empty line at its end.
        head = nrrd(f"data file: {file}", "byte skip: 2", payload=b"")[:-1]
    path = put(tmp_path, name, head)
    volume = read_volume(path, tmp_path)
    assert_as_itk(volume, path)
    files = [path, tmp_path / "sub" / "v ö.bin"]
    hashes = sorted(hashlib.sha256(f.read_bytes()).hexdigest() for f in files)
    assert volume.sha256 == hashlib.sha256("".join(f"{h}\n" for h in hashes).encode()).hexdigest()
    assert voxel_files(tmp_path, Path(name)) == [Path(file)]
    assert declared_size(path) == (60, 0)


def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    """SimpleITK ends the process at such a name."""
    (tmp_path / "v\udc80.bin").write_bytes(PAYLOAD)
    head = metaimage(file="@", payload=b"").replace(b"@", b"v\x80.bin")
    volume = read_volume(put(tmp_path, "x.mhd", head), tmp_path)
    np.testing.assert_array_equal(volume.stored, VOXELS)


def test_what_itk_reads_wrongly_or_not_at_all(tmp_path: Path) -> None:
    # Without a size it gives whatever the memory held, and no error.
    path = put(tmp_path, "x.mha", metaimage("CompressedData = True", payload=ZLIB))
    assert not np.array_equal(by_itk(path)[0], VOXELS)
    np.testing.assert_array_equal(read_volume(path, tmp_path).stored, VOXELS)
    # Masks are empty for the most part: bzip2 makes much less of them than gzip could.
    mask = np.zeros((400, 400, 100), dtype=np.uint8)
    fields = {"encoding": "bzip2", "type": "uchar", "sizes": "400 400 100"}
    path = put(tmp_path, "x.nrrd", nrrd(payload=bz2.compress(mask.tobytes()), **fields))
    assert not read_volume(path, tmp_path).stored.any()
    assert declared_size(path) == (mask.size, mask.size)
    many = np.arange(40_000, dtype="<i4").reshape(200, 100, 2)
    text = " ".join(map(str, many.ravel("F"))).encode()  # no line end behind the last
    fields = {"encoding": "ascii", "type": "int", "sizes": "200 100 2"}
    path = put(tmp_path, "x.nrrd", nrrd(payload=text, **fields))
    np.testing.assert_array_equal(read_volume(path, tmp_path).stored, many)


@pytest.mark.parametrize("name", ["x.mha", "x.nrrd"])
def test_long_headers(tmp_path: Path, name: str) -> None:
    """What is read at first may end anywhere in a line, or between the bytes that end it."""
    for more in range(70):
        lines = ["# = " + "x" * more] + [f"# = {'x' * 60}"] * 1000
        data = (metaimage if name == "x.mha" else nrrd)(*lines, end="\r\n")
        np.testing.assert_array_equal(
            read_volume(put(tmp_path, name, data), tmp_path).stored, VOXELS
        )


def test_raw_voxels_take_no_memory_and_packed_ones_no_second_copy(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.zeros((100, 200, 300), dtype=np.int16))
    for name, packed, most in (("a.mha", False, 4e6), ("b.nrrd", True, 12e6 + 12e6)):
        sitk.WriteImage(image, str(tmp_path / name), packed)
        read_volume(tmp_path / name, tmp_path)
        tracemalloc.start()
        volume = read_volume(tmp_path / name, tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert volume.stored.shape == (300, 200, 100) and peak < most
        assert declared_size(tmp_path / name) == (6_000_000, 12_000_000 * packed)


@pytest.mark.parametrize("form", ["swapped", "between bytes", "swapped between bytes", "packed"])
def test_a_build_gives_the_same_vois_from_any_byte(tmp_path: Path, form: str) -> None:
    """Mapped voxels may start anywhere and lie in either order; VOIs show nothing of it."""
    image = np.random.default_rng(1).integers(-900, 900, (30, 26, 20)).astype(np.int16)
    mask = np.zeros_like(image)
    mask[8:14, 9:15, 7:13], mask[20:23, 3:9, 2:5] = 1, 2
    found = []
    for way in ("plain", form):
        raw = tmp_path / way / "raw"
        for folder, array in (("images", image), ("masks", mask)):
            swapped = "swapped" in way or way == "packed"
            payload = array.astype(">i2" if swapped else "<i2").tobytes("F")
            lines = [f"BinaryDataByteOrderMSB = {swapped}", f"CompressedData = {way == 'packed'}"]
            lines += ["TransformMatrix = -1 0 0 0 -1 0 0 0 1", "ElementSpacing = 0.8 0.8 2.5"]
            payload = zlib.compress(payload) if way == "packed" else payload
            data = metaimage(*lines, "Comment = x", sizes="30 26 20", payload=payload)
            if ("between" in way) is (data.index(payload) % 2 == 0):
                data = data.replace(b"Comment = x", b"Comment = xy")
            (raw / folder).mkdir(parents=True)
            put(raw / folder, "a.mha", data)
        recipe = put(tmp_path / way, "mine.yaml", recipe_template("mine").encode())
        report = uls_data.build(recipe, raw, tmp_path / way / "out", workers=0)
        assert report.ok and len(report.rows) == 1
        found.append([{k: v for k, v in row.items() if "sha256" not in k} for row in report.rows])
        hashes = [(row["image_voxels_sha256"], row["label_voxels_sha256"]) for row in report.rows]
        found[-1].append({"voxels": hashes})
    assert found[0] == found[1]
