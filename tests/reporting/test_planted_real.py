"""Faults planted one by one into the published labels are among the first of their ranking."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers.planted import cropped, cut, flood, leak, shifted
from numpy.typing import NDArray

from uls_data.manifest.parquet import iterate_rows
from uls_data.measure import axes
from uls_data.measure.shape import measure_mask
from uls_data.pictures.thumbnails import Subject
from uls_data.reporting.outliers import rankings
from uls_data.scoring.collection import Item

pytestmark = [pytest.mark.real, pytest.mark.slow]
FIRST = 10
DRAWS = 100
LARGEST = 60_000  # a leak of a larger lesion takes seconds to draw


class Sample:
    """The 325 labels: rows, masks, and numbers."""

    def __init__(self, folder: Path, manifest: Path) -> None:
        with (folder / "index.csv").open(newline="") as file:
            names = {line["file"].removesuffix(".nii.gz.zip") for line in csv.DictReader(file)}
        found = {}
        for row in iterate_rows(manifest):
            if row["status"] == "ok" and row["voi_id"] in names:
                found.setdefault(row["voi_id"], row)
        self.rows = list(found.values())
        self.subjects = [
            Subject.of(Item("", (), 0, folder / row["label_path"]).read()[0]) for row in self.rows
        ]
        self.numbers = [
            measure_mask(subject.mask, subject.start, self.spacing(at).tolist())
            for at, subject in enumerate(self.subjects)
        ]

    def spacing(self, at: int) -> NDArray[np.float64]:
        spacing = [self.rows[at][f"spacing_{axis}_mm"] for axis in "xyz"]
        return np.ones(3) if None in spacing else np.array(spacing)

    def voxels(self, at: int) -> NDArray[np.int64]:
        subject = self.subjects[at]
        return np.asarray(np.argwhere(subject.mask) + np.array(subject.start))

    def found(self, at: int, row: dict[str, Any], numbers: dict[str, float]) -> set[str]:
        """Rankings that have a changed lesion among their first ten."""
        rows, measured = list(self.rows), list(self.numbers)
        rows[at], measured[at] = row, numbers
        return {
            ranking.name
            for ranking in rankings(rows, measured, FIRST)
            if any(suspect.row == at for suspect in ranking.suspects)
        }

    def remeasured(self, at: int, voxels: NDArray[np.int64]) -> set[str]:
        mask, start = cropped(voxels)
        measure = axes.measure(mask)
        row = {
            **self.rows[at],
            "long_axis_vox": measure.long_vox,
            "short_axis_vox": measure.short_vox,
            "mask_voxels": int(mask.sum()),
            "label_voxels_sha256": "another",
        }
        return self.found(at, row, measure_mask(mask, start, self.spacing(at).tolist()))


@pytest.fixture(scope="module")
def sample(real_data: Path, labels_index: Path) -> Sample:
    made = Sample(real_data / "uls23-labels", labels_index)
    assert len(made.rows) == 325
    return made


def leaks(sample: Sample, at: int, rng: np.random.Generator) -> NDArray[np.int64] | None:
    if sample.rows[at]["mask_voxels"] > LARGEST:
        return None
    return leak(sample.voxels(at), sample.spacing(at), rng)


def floods(sample: Sample, at: int, rng: np.random.Generator) -> NDArray[np.int64] | None:
    return flood(sample.voxels(at), rng) if sample.subjects[at].mask.shape[2] >= 3 else None


def shifts(sample: Sample, at: int, rng: np.random.Generator) -> NDArray[np.int64] | None:
    return shifted(sample.voxels(at), sample.spacing(at), rng)


def cuts(sample: Sample, at: int, rng: np.random.Generator, least: int) -> NDArray[np.int64] | None:
    shape = sample.subjects[at].mask.shape
    whole = min(shape) > 1 and len(sample.voxels(at)) >= 200 and max(shape) >= least
    return cut(sample.voxels(at), rng, least) if whole else None


@pytest.mark.parametrize(
    ("plant", "fitting"),
    [
        (leaks, {"leak"}),
        (floods, {"slice_jump"}),
        (shifts, {"off_click"}),
        (partial(cuts, least=10), {"cut", "cut_z"}),
    ],
    ids=["leak", "flood", "shift", "cut"],
)
def test_a_changed_mask_is_found(
    sample: Sample, plant: Callable[..., NDArray[np.int64] | None], fitting: set[str]
) -> None:
    rng = np.random.default_rng(20231029)
    hits = draws = 0
    while draws < DRAWS:
        at = int(rng.integers(len(sample.rows)))
        voxels = plant(sample, at, rng) if sample.rows[at]["mask_voxels"] >= 30 else None
        if voxels is not None:
            draws += 1
            hits += bool(fitting & sample.remeasured(at, voxels))
    assert hits >= 0.9 * DRAWS, f"{fitting}: {hits} of {draws}"


def test_a_wrong_label_is_found(sample: Sample) -> None:
    """Another type than the source's; another lesion's mask under this one's name."""
    rng = np.random.default_rng(20231029)
    types = sorted({row["lesion_type"] for row in sample.rows})
    hits = 0
    for _ in range(DRAWS):
        at, other = rng.choice(len(sample.rows), 2, replace=False)
        row = sample.rows[at]
        wrong = str(rng.choice([one for one in types if one != row["lesion_type"]]))
        changed = {**row, "lesion_type": wrong}
        hits += "wrong_label" in sample.found(at, changed, sample.numbers[at])
        names = ("label_voxels_sha256", "mask_voxels", "long_axis_vox", "short_axis_vox")
        copied = {**row, **{name: sample.rows[other][name] for name in names}}
        hits += "wrong_label" in sample.found(at, copied, sample.numbers[other])
    assert hits >= 0.9 * 2 * DRAWS, hits
