"""What is not a volume says what it is, and what to do: each line of the table by its words."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from makers.small_build import SHAPE, hu_of, only_row, put, run

from uls_data.errors import CaseError
from uls_data.outcome import Reason
from uls_data.volumes import read_volume

WORDS = {
    b"": ("empty", "download it again"),
    bytes(4000): ("zero bytes", "download it again"),
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 1\n": ("Git LFS", "lfs pull"),
    b"<!DOCTYPE html><html><body>Sign in</body></html>": ("web page", "signed in"),
    b"\xef\xbb\xbf\r\n<html lang='en'>": ("web page", "download it again"),
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>": ("XML", "download it again"),
    b'{"error": {"code": 403}}': ("JSON", "signed in"),
    b"PK\x03\x04" + bytes(60): ("zip", "unzip"),
    b"7z\xbc\xaf\x27\x1c" + bytes(60): ("7z", "7z x"),
    b"Rar!\x1a\x07" + bytes(60): ("RAR", "unrar"),
    b"\xfd7zXZ\0" + bytes(60): ("xz", "xz -d"),
    b"\x28\xb5\x2f\xfd" + bytes(60): ("zstd", "zstd -d"),
    b"a.nii".ljust(257, b"\0") + b"ustar\0" + bytes(300): ("tar", "tar -xf"),
    b"x" * 128 + b"DICM" + bytes(60): ("DICOM", "reader"),
}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha", ".mhd", ".nrrd"])
@pytest.mark.parametrize("content", WORDS, ids=[words[0] for words in WORDS.values()])
def test_each_finding_says_what_it_is_and_what_to_do(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(CaseError) as caught:
        read_volume(path, tmp_path)
    assert all(words in caught.value.detail for words in WORDS[content]), caught.value.detail
    assert caught.value.reason is (Reason.UNREADABLE if content else Reason.TRUNCATED_FILE)


@pytest.mark.parametrize("content", [c for c in WORDS if c])
def test_so_does_what_gzip_holds(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(CaseError) as caught:
        read_volume(path, tmp_path)
    assert all(words in caught.value.detail for words in WORDS[content]), caught.value.detail


def test_gzip_within_gzip(tmp_path: Path) -> None:
    put(tmp_path / "raw", "a", image=hu_of(SHAPE), suffix=".nii.gz")
    path = tmp_path / "raw/images/a.nii.gz"
    path.write_bytes(gzip.compress(path.read_bytes()))
    row = only_row(run(tmp_path / "raw", tmp_path / "out"))
    assert "gzip within gzip" in row["detail"] and "gunzip" in row["detail"]


def test_a_volume_is_none_of_them(tmp_path: Path) -> None:
    put(tmp_path / "raw", "a", image=np.zeros(SHAPE, np.int16))
    assert read_volume(tmp_path / "raw/images/a.nii", tmp_path).stored.shape == SHAPE
