"""Files that are not slices of a CT, or damaged, are refused, and say why."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import dicom as dicom_maker
from makers.dicom import encapsulated, file_bytes, positions_mm, slice_of, write_series
from makers.series import VOLUME, at, failure, read, text_in, without, written
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from uls_data.dicom import series as dicom_series
from uls_data.dicom.elements import Tag
from uls_data.dicom.inventory import find_series
from uls_data.dicom.series import read_series, series_size
from uls_data.errors import CaseError
from uls_data.outcome import Flag, Reason
from uls_data.volumes.raw_root import RawRoot


@pytest.mark.parametrize(
    ("change", "reason", "says"),
    [
        (at(Modality="MR"), Reason.NOT_CT, "expected modality CT, found MR"),
        (at(Modality="MUSTER"), Reason.NOT_CT, "none that DICOM defines"),
        (without("Modality"), Reason.NOT_CT, "none"),
        (at(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), Reason.LOCALIZER, "0001.dcm"),
        (at(2, ImageType=["ORIGINAL", "LOCALIZER"]), Reason.MISSING_SLICES, "1 of 4 slices"),
        (at(NumberOfFrames=3), Reason.MULTI_FRAME, "found 3"),
        (at(SOPClassUID=uid.EnhancedCTImageStorage), Reason.MULTI_FRAME, "Enhanced"),
        (without("ImagePositionPatient"), Reason.BAD_AFFINE, "(0020,0032) is missing"),
        (without("ImageOrientationPatient"), Reason.BAD_AFFINE, "(0020,0037) is missing"),
        (at(1, PixelSpacing=None), Reason.BAD_AFFINE, "(0028,0030) is missing"),
        (at(PixelSpacing=[0, 1]), Reason.BAD_AFFINE, "0, 1"),
        (at(PixelSpacing=[-1, 1]), Reason.BAD_AFFINE, "-1, 1"),
        (at(ImagePositionPatient=[0, 0, 1e30]), Reason.BAD_AFFINE, "1e+30"),
        (text_in(Tag.IMAGE_POSITION_PATIENT, b"nan\\0\\1"), Reason.BAD_AFFINE, "nan, 0, 1"),
        (text_in(Tag.IMAGE_POSITION_PATIENT, b"0\\0\\inf"), Reason.BAD_AFFINE, "inf"),
        (text_in(Tag.IMAGE_POSITION_PATIENT, b"Max\\Muster"), Reason.UNREADABLE, "3 numbers"),
        (text_in(Tag.IMAGE_POSITION_PATIENT, b"0\\0\\1_0"), Reason.UNREADABLE, "3 numbers"),
        (at(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), Reason.BAD_AFFINE, "right angles"),
        (at(ImageOrientationPatient=[0.5, 0, 0, 0, 1, 0]), Reason.BAD_AFFINE, "unit vectors"),
        (at(1, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), Reason.MIXED_GEOMETRY, "orientation"),
        (at(1, PixelSpacing=[0.5, 0.76]), Reason.MIXED_GEOMETRY, "0.5, 0.76 mm"),
        (at(1, Rows=37, Columns=35), Reason.MIXED_GEOMETRY, "pixels"),
        (at(1, Rows=34), Reason.MIXED_GEOMETRY, "pixels"),
        (at(Rows=17), Reason.UNREADABLE, "holds 2,590 bytes of pixels"),
        (at(Rows=36), Reason.TRUNCATED_FILE, "need 2,664 bytes, found 2,590"),
        (at(Rows=0), Reason.UNREADABLE, "37 x 0"),
        (at(Rows=60_000, Columns=60_000), Reason.TOO_LARGE, "60,000 x 60,000"),
        (at(Rows=8000, Columns=8000), Reason.TRUNCATED_FILE, "need 128,000,000 bytes"),
        (without("Rows"), Reason.UNREADABLE, "Rows (0028,0010) is missing"),
        (without("PixelRepresentation"), Reason.UNREADABLE, "(0028,0103) is missing"),
        (without("PixelData"), Reason.TRUNCATED_FILE, "Pixel Data (7FE0,0010)"),
        (at(BitsAllocated=12), Reason.UNSUPPORTED_FORMAT, "bits allocated 12"),
        (at(BitsStored=0), Reason.UNSUPPORTED_FORMAT, "stored 0"),
        (at(BitsStored=17), Reason.UNSUPPORTED_FORMAT, "stored 17"),
        (at(HighBit=16), Reason.UNSUPPORTED_FORMAT, "high bit 16"),
        (at(PixelRepresentation=2), Reason.UNSUPPORTED_FORMAT, "representation 2"),
        (at(SamplesPerPixel=3), Reason.UNSUPPORTED_FORMAT, "colours"),
        (at(PhotometricInterpretation="RGB"), Reason.UNSUPPORTED_FORMAT, "colours"),
        (at(RescaleSlope=0), Reason.UNREADABLE, "slope 0"),
        (text_in(Tag.RESCALE_INTERCEPT, b"nan"), Reason.UNREADABLE, "intercept nan"),
        (at(1, RescaleSlope="1e300"), Reason.HU_OUT_OF_RANGE, "HU from"),
        (at(1, RescaleSlope=None, RescaleIntercept=None), Reason.MIXED_GEOMETRY, "1 of 4 slices"),
    ],
)
def test_files_that_are_no_slice(
    tmp_path: Path, change: dicom_maker.Change, reason: Reason, says: str
) -> None:
    write_series(tmp_path, VOLUME, change=change, syntax=uid.ImplicitVRLittleEndian)
    error = failure(tmp_path)
    assert error.reason is reason, error.detail
    assert says in error.detail
    assert "uster" not in error.detail


def test_slices_of_two_series(tmp_path: Path) -> None:
    write_series(tmp_path, VOLUME, change=at(1, SeriesInstanceUID="1.2.9"))
    error = failure(tmp_path)
    assert error.reason is Reason.AMBIGUOUS_FILES
    assert "found 2: 1.2.826.0.1.20, 1.2.9" in error.detail


def test_one_gap_of_two_steps(tmp_path: Path) -> None:
    places = [positions_mm(6)[k] for k in (0, 1, 4)]
    write_series(tmp_path, VOLUME[:, :, :3], at_mm=places)
    assert "steps of 2.500 mm, found 7.500 mm" in failure(tmp_path).detail


def test_too_few_slices(tmp_path: Path) -> None:
    write_series(tmp_path, VOLUME[:, :, :1])
    assert failure(tmp_path).reason is Reason.TOO_FEW_SLICES
    for function in (read_series, series_size):
        with pytest.raises(CaseError, match="found 0"):
            function([], tmp_path)


def slice_file() -> bytes:
    return file_bytes(slice_of(VOLUME[:, :, 2].T.copy(), positions_mm(3)[2], 2))


def replaced(folder: Path, data: bytes) -> CaseError:
    write_series(folder, VOLUME)
    (folder / "0002.dcm").write_bytes(data)
    return failure(folder)


def test_damaged_files(tmp_path: Path) -> None:
    whole = slice_file()
    assert replaced(tmp_path, whole[:-3]).reason is Reason.TRUNCATED_FILE
    assert replaced(tmp_path, whole[:-3]).detail.endswith("found 2,587; the file is cut short")
    assert replaced(tmp_path, b"some text").reason is Reason.UNSUPPORTED_FORMAT
    assert replaced(tmp_path, b"").reason is Reason.UNSUPPORTED_FORMAT
    deflated = file_bytes(
        slice_of(VOLUME[:, :, 0].T.copy(), (0, 0, 0)), uid.DeflatedExplicitVRLittleEndian
    )
    assert "deflated data end too early" in replaced(tmp_path, deflated[:-40]).detail
    other = whole.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.9\0", 1)
    assert "1.2.840.10008.1.9.9" in replaced(tmp_path, other).detail
    (tmp_path / "0002.dcm").write_bytes(whole)
    os.truncate(tmp_path / "0002.dcm", 1 << 40)
    assert failure(tmp_path).reason is Reason.TOO_LARGE
    (tmp_path / "0002.dcm").unlink()
    os.mkfifo(tmp_path / "0002.dcm")
    assert "special file" in failure(tmp_path).detail
    (tmp_path / "0002.dcm").unlink()
    (tmp_path / "0002.dcm").mkdir()
    assert "a folder" in failure(tmp_path).detail


J2K_SIZ = b"\xff\x4f\xff\x51"


def compressed(frame: bytes, syntax: str) -> bytes:
    dataset = slice_of(VOLUME[:, :, 2].T.copy(), positions_mm(3)[2], 9)
    return file_bytes(encapsulated(dataset, frame), syntax)


def codestream() -> bytes:
    dataset = slice_of(VOLUME[:, :, 2].T.copy(), (0, 0, 0))
    data = file_bytes(dataset, uid.JPEG2000Lossless)
    return data[data.index(J2K_SIZ) : data.rindex(b"\xff\xd9") + 2]


def test_codestreams_are_held_against_the_header(tmp_path: Path) -> None:
    good = codestream()
    write_series(tmp_path, VOLUME[:, :, :2])
    (tmp_path / "a.dcm").write_bytes(compressed(good, uid.JPEG2000Lossless))
    np.testing.assert_array_equal(read(tmp_path).volume.stored, VOLUME[:, :, :3])
    (tmp_path / "a.dcm").unlink()
    huge = bytearray(good)
    huge[8:16] = (60_000).to_bytes(4, "big") * 2
    several = bytearray(good)
    several[40:42] = (9000).to_bytes(2, "big")
    for frame, reason, says in (
        (bytes(huge), Reason.UNREADABLE, "codestream 60000 x 60000"),
        (bytes(several), Reason.UNREADABLE, "of 9000"),
        (good[:-2], Reason.TRUNCATED_FILE, "no end"),
        (good[:60] + bytes(80) + good[140:], Reason.UNREADABLE, "cannot be decoded"),
        (b"no codestream", Reason.UNREADABLE, "codestream 0 x 0"),
    ):
        error = replaced(tmp_path, compressed(frame, uid.JPEG2000Lossless))
        assert error.reason is reason
        assert says in error.detail
    data = compressed(good, uid.JPEG2000Lossless)
    assert replaced(tmp_path, data[:-100]).reason is Reason.TRUNCATED_FILE
    assert replaced(tmp_path, data[:-8]).reason is Reason.TRUNCATED_FILE
    native = slice_file().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1)
    assert "does not go with" in replaced(tmp_path, native).detail


def test_a_frame_may_lie_in_fragments(tmp_path: Path) -> None:
    write_series(tmp_path, VOLUME)
    dataset = encapsulated(slice_of(VOLUME[:, :, 2].T.copy(), positions_mm(3)[2], 2), b"12")
    dataset.PixelData = encapsulate([codestream()], fragments_per_frame=3, has_bot=False)
    (tmp_path / "0002.dcm").write_bytes(file_bytes(dataset, uid.JPEG2000Lossless))
    np.testing.assert_array_equal(read(tmp_path).volume.stored, VOLUME)


def test_decoders_are_quiet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Users get one error, not what decoders print: a panic of the Rust code, for one."""
    segments = struct.pack("<16L", 2, 64, 1064, *[0] * 13)
    repeats = b"\x81\x07" * 500  # 128 times a byte: far more than the slice has
    error = replaced(tmp_path, compressed(segments + 2 * repeats, uid.RLELossless))
    assert error.reason is Reason.UNREADABLE
    assert "RLE Lossless pixel data cannot be decoded" in error.detail
    frame = codestream()
    error = replaced(tmp_path, compressed(frame[:60] + bytes(80) + frame[140:], uid.JPEG2000))
    assert error.reason is Reason.UNREADABLE
    assert capfd.readouterr() == ("", "")


def test_missing_decoders_are_named(tmp_path: Path) -> None:
    frame = b"\xff\xd8\xff\xc3\0\x0b\x10\0\x05\0\x07\x01\x01\x11\0\xff\xd9"
    error = replaced(tmp_path, compressed(frame, uid.JPEGLosslessSV1))
    if "pylibjpeg-libjpeg" in error.detail:
        assert error.reason is Reason.UNSUPPORTED_FORMAT
        assert "pip install pylibjpeg-libjpeg" in error.detail
    else:  # it is installed here, and refuses this frame
        assert error.reason is Reason.UNREADABLE


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEGLSNearLossless])
def test_jpeg_ls_without_its_package_says_so(tmp_path: Path, syntax: str) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    if get_decoder(syntax).is_available:
        pytest.skip("a package that decodes JPEG-LS is installed")
    frame = b"\xff\xd8\xff\xf7\0\x0b\x10\0\x23\0\x25\x01\x01\x11\0\xff\xd9"
    error = replaced(tmp_path, compressed(frame, syntax))
    assert error.reason is Reason.UNSUPPORTED_FORMAT
    assert "needs the package pyjpegls: `pip install pyjpegls`, or decompress" in error.detail


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("signed", [False, True])
def test_jpeg_ls_where_its_package_is(tmp_path: Path, bits: int, signed: bool) -> None:
    pytest.importorskip("jpeg_ls", reason="pyjpegls (extra jpegls) is not installed")
    low = -(1 << bits - 1) if signed else 0
    dtype = np.int16 if signed else np.uint16
    values = np.random.default_rng(bits).integers(low, low + (1 << bits), VOLUME.shape)
    change = at(BitsStored=bits, HighBit=bits - 1, PixelRepresentation=int(signed))
    files = write_series(tmp_path, values.astype(dtype), change=change, syntax=uid.JPEGLSLossless)
    np.testing.assert_array_equal(read(tmp_path).volume.stored, values)
    whole = (tmp_path / files[0]).read_bytes()
    at_byte = whole.index(b"\xff\xda") + 40
    (tmp_path / files[0]).write_bytes(whole[:at_byte] + bytes(300) + whole[at_byte + 300 :])
    assert failure(tmp_path).reason is Reason.UNREADABLE
    (tmp_path / files[0]).write_bytes(whole[: at_byte + 300])
    assert failure(tmp_path).reason is Reason.TRUNCATED_FILE


def test_nothing_outside_the_root(tmp_path: Path) -> None:
    files = write_series(tmp_path / "outside", VOLUME)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/link").symlink_to(tmp_path / "outside")
    for prefix in ("link", "../outside", tmp_path / "outside"):
        with pytest.raises(CaseError) as caught:
            read_series([Path(prefix, file) for file in files], tmp_path / "raw")
        assert caught.value.reason is Reason.PATH_LEAVES_ROOT
        assert str(tmp_path) not in caught.value.detail


def test_files_that_change_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = write_series(tmp_path, VOLUME)
    check = dicom_series._check_sizes

    def change(slices: Any) -> None:
        check(slices)
        data = bytearray((tmp_path / "0002.dcm").read_bytes())
        where = data.index(b"-1024")
        data[where : where + 5] = b"-1000"
        (tmp_path / "0002.dcm").write_bytes(data)

    monkeypatch.setattr(dicom_series, "_check_sizes", change)
    with pytest.raises(CaseError) as caught:
        read_series(files, tmp_path)
    assert caught.value.reason is Reason.CHANGED_WHILE_READ
    monkeypatch.setattr(dicom_series, "_check_sizes", lambda _: (tmp_path / files[0]).unlink())
    with pytest.raises(CaseError) as caught:
        read_series(files, tmp_path)
    assert caught.value.reason is Reason.IO_ERROR
    assert caught.value.detail.startswith(f"{files[0]}: ")


def test_padding_behind_the_pixels(tmp_path: Path) -> None:
    """PS3.5 section 8.1.1: padding behind pixel data is ignored."""

    def pad(_: int, dataset: Dataset) -> None:
        dataset.PixelData += b"\x07" * 2048

    series = written(tmp_path, change=pad)
    np.testing.assert_array_equal(series.volume.stored, VOLUME)
    assert series.volume.flags == (Flag.TRAILING_BYTES,)


def test_scouts_beside_a_stack_are_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, VOLUME)
    whole = read(tmp_path)
    for number, name in enumerate(("0000.dcm", "scout.dcm")):
        scout = slice_of(np.zeros((9, 40), np.uint16), (0, 0, 0), 100 + number)
        scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
        scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        (tmp_path / name).write_bytes(file_bytes(scout))
    series = read(tmp_path)
    np.testing.assert_array_equal(series.volume.stored, VOLUME)
    assert series.volume.flags == (Flag.SCOUT_LEFT_OUT,)
    assert series.volume.sha256 != whole.volume.sha256
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.iterdir())
    assert series_size(files, tmp_path)[0] == 37 * 35 * len(files)


def test_a_deflated_series(tmp_path: Path) -> None:
    series = written(tmp_path, syntax=uid.DeflatedExplicitVRLittleEndian)
    np.testing.assert_array_equal(series.volume.stored, VOLUME)


def test_slices_that_share_a_uid(tmp_path: Path) -> None:
    """A de-identifier that gives all of them one: they are not copies of each other."""
    write_series(tmp_path, VOLUME, change=at(SOPInstanceUID="1.2.3"))
    series = read(tmp_path)
    np.testing.assert_array_equal(series.volume.stored, VOLUME)
    assert series.volume.flags == (Flag.SHARED_UIDS,)
    assert series.sop_instance_uids == ("",) * VOLUME.shape[2]
    assert series.shared_uids == {"1.2.3"}
    (found,) = find_series(RawRoot(tmp_path))
    assert len(found.files) == VOLUME.shape[2]
