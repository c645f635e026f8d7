"""Which files a recipe's pattern selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from uls_data.sources.patterns import matching


def selected(pattern: str, *names: str, beside: tuple[str, ...] = ()) -> list[str]:
    files = [Path(name) for name in names]
    found = matching(pattern, r"p\d", files, beside)
    return [it.path.as_posix() for it in found if not it.spare]


@pytest.mark.parametrize(
    ("pattern", "files", "expected"),
    [
        ("**/{case}_mask.nii.gz", ["a/p1_mask.nii", "p2_mask.nii.gz"], ...),
        ("{case}.nii", ["p1.nii.gz", "p2.nii"], ...),
        # The named form counts where several are there, then a NIfTI for a NIfTI.
        ("{case}.nii.gz", ["p1.nii", "p1.nii.gz"], ["p1.nii.gz"]),
        ("{case}.nii", ["p1.nii", "p1.nii.gz"], ["p1.nii"]),
        ("{case}.nrrd", ["p1.nii", "p1.nrrd"], ["p1.nrrd"]),
        ("{case}.nii.gz", ["p1.nrrd", "p1.nii"], ["p1.nii"]),
        ("{case}.nii.gz", ["p1.nii.gz.zip", "x.nii", "p1.dcm", "p1.nrrd.tmp"], []),
        ("{case}.nii.gz", ["p1.nrrd", "p2.mha", "p3.mhd", "p4.nii"], ...),
        ("{case}/ct.mha", ["p1/ct.nii.gz", "p2/ct.mhd"], ...),
        # Of what stands for the same file, nobody here can choose.
        ("{case}.nii.gz", ["p1.mha", "p1.nrrd"], ...),
        ("{case}{ext}", ["p1.nii", "p2.nii.gz", "p3.mha"], ...),
    ],
)
def test_a_volume_counts_in_any_format(pattern: str, files: list[str], expected: list[str]) -> None:
    assert selected(pattern, *files) == (files if expected is ... else expected)


@pytest.mark.parametrize(
    ("pattern", "beside", "files", "expected"),
    [
        # Only the suffix tells image from mask.
        ("{case}.nii.gz", "{case}.nrrd", ["p1.nrrd", "p2.mha", "p3.nii"], ["p3.nii"]),
        ("ct/{case}.nii.gz", "mask/{case}.nii.gz", ["ct/p1.mha", "mask/p1.mha"], ["ct/p1.mha"]),
    ],
)
def test_what_another_pattern_names_is_its_own(
    pattern: str, beside: str, files: list[str], expected: list[str]
) -> None:
    assert selected(pattern, *files, beside=(beside,)) == expected


def test_another_format_is_told() -> None:
    files = [Path(name) for name in ("p1.nii", "p2.nrrd", "p3.nii.gz")]
    told = {it.path.name: it.other_format for it in matching("{case}.nii.gz", r"p\d", files)}
    assert told == {"p1.nii": False, "p2.nrrd": True, "p3.nii.gz": False}
