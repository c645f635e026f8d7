"""Which files a recipe's pattern selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from uls_data.sources.patterns import matching


def selected(pattern: str, *names: str) -> list[str]:
    return [path.as_posix() for path, _ in matching(pattern, r"p\d", [Path(n) for n in names])]


@pytest.mark.parametrize(
    ("pattern", "files", "expected"),
    [
        ("**/{case}_mask.nii.gz", ["a/p1_mask.nii", "p2_mask.nii.gz"], ...),
        ("{case}.nii", ["p1.nii.gz", "p2.nii"], ...),
        # The named form counts where both are there.
        ("{case}.nii.gz", ["p1.nii", "p1.nii.gz"], ["p1.nii.gz"]),
        ("{case}.nii", ["p1.nii", "p1.nii.gz"], ["p1.nii"]),
        # Another format is another file, such as a mask beside its image.
        ("{case}.nii.gz", ["p1.nrrd", "p1.nii.gz.zip", "x.nii"], []),
        ("{case}.nrrd", ["p1.nii", "p1.nrrd"], ["p1.nrrd"]),
        ("{case}{ext}", ["p1.nii", "p2.nii.gz", "p3.mha"], ...),
    ],
)
def test_a_nifti_counts_packed_and_unpacked(
    pattern: str, files: list[str], expected: list[str]
) -> None:
    assert selected(pattern, *files) == (files if expected is ... else expected)
