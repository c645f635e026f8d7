"""What a disk says has one name, for series and for single files."""

from __future__ import annotations

import errno
import os

import pytest

from uls_data.fetching.disk import disk_failure, disk_reason
from uls_data.fetching.series_list import Series, read_series
from uls_data.fetching.staged import reason_of
from uls_data.fetching.wanted import Why
from uls_data.recipe import load_recipe

NUMBERS = {
    errno.ENOSPC: Why.DISK_FULL,
    errno.EDQUOT: Why.DISK_FULL,
    errno.EFBIG: Why.DISK_FULL,
    errno.EIO: Why.UNWRITABLE,
    errno.EROFS: Why.UNWRITABLE,
    errno.EACCES: Why.UNWRITABLE,
}


@pytest.fixture
def series() -> Series:
    return read_series(load_recipe("hcc_tace_seg").path.parent / "series.parquet")[0]


@pytest.mark.parametrize("number", NUMBERS)
def test_an_error_of_the_system_and_words_of_s5cmd(number: int, series: Series) -> None:
    error = OSError(number, os.strerror(number), "P-1/1.2/a.dcm")
    reason, detail = disk_failure(error)
    assert (reason, detail) == (NUMBERS[number], f"P-1/1.2/a.dcm: {os.strerror(number)}")
    assert disk_failure(error, "masks.zip") == (reason, f"masks.zip: {os.strerror(number)}")
    # As Go's os.PathError says it, in small letters.
    said = f"write /raw/.uls-data-fetch/series/x/a.dcm: {os.strerror(number).lower()}"
    assert disk_reason(said) == reason and reason_of(said, series) == (reason, said)


@pytest.mark.parametrize(
    "said", ["AccessDenied: Access Denied status code: 403", "no object found"]
)
def test_what_the_store_says_is_not_the_disk(said: str, series: Series) -> None:
    assert disk_reason(said) is None
    assert reason_of(said, series)[0] in (Why.UNREACHABLE, Why.MISSING)
