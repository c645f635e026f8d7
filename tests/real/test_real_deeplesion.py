"""Real rows of DL_info.csv, and real labels of the lesions that they measure."""

from __future__ import annotations

import gzip
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from uls_data.outcome import Flag
from uls_data.recipe import load_recipe
from uls_data.recipe.reader import DeepLesion
from uls_data.sources.deeplesion.png_stack import unread_stack
from uls_data.sources.deeplesion.table import KeySliceRows, read_table
from uls_data.sources.measured import ras_lines
from uls_data.tables import read_rows

pytestmark = pytest.mark.real
TABLES = ("DL_info.csv", "DL_info_val.csv", "DeepLesion_Kidneys_test_set.csv")


def table(root: Path, name: str) -> list[KeySliceRows]:
    reader = load_recipe("deeplesion").recipe.reader
    assert isinstance(reader, DeepLesion)
    return read_table(root / name, root, reader.case, reader.coordinates)


@pytest.fixture(scope="module")
def tables(real_data: Path) -> dict[str, list[KeySliceRows]]:
    return {name: table(real_data / "deeplesion", name) for name in TABLES}


@pytest.mark.parametrize(
    ("name", "rows", "slices", "noisy", "splits"),
    [
        ("DL_info.csv", 158, 152, 0, {"train": 105, "val": 18, "test": 35}),
        ("DL_info_val.csv", 4889, 4793, 2, {"val": 4889}),
        ("DeepLesion_Kidneys_test_set.csv", 234, 231, 1, {"test": 234}),
    ],
)
def test_every_row_is_a_measurement(
    tables: dict[str, list[KeySliceRows]],
    name: str,
    rows: int,
    slices: int,
    noisy: int,
    splits: dict[str, int],
) -> None:
    cases = tables[name]
    measurements = [m for case in cases for m in case.measurements]
    assert (len(measurements), len(cases)) == (rows, slices)
    assert [case.problem for case in cases if case.problem] == []
    assert [m.skipped for m in measurements if m.skipped] == []
    assert sum(m.noisy for m in measurements) == noisy
    assert Counter(dict(m.columns)["source_split"] for m in measurements) == splits
    assert all(m.window_hu is not None for m in measurements)
    assert all(m.lines.long_vox >= m.lines.short_vox > 1 for m in measurements)
    outside = []
    for case in cases:
        assert case.stack is not None
        assert case.stack.spacing_mm is not None
        shape = case.stack.shape[:2]
        outside += [case.case_id for m in case.measurements if m.lines.problem(shape)]
    # One line leaves its image; the published archive lacks that lesion too.
    assert outside == (["000211_02_01_018"] if name == "DL_info_val.csv" else [])


def test_several_lesions_share_a_slice(tables: dict[str, list[KeySliceRows]]) -> None:
    counts = Counter(len(case.measurements) for case in tables["DL_info_val.csv"])
    assert counts == {1: 4699, 2: 92, 3: 2}


def test_boxes_of_the_table_are_the_end_points_and_5_px(real_data: Path) -> None:
    """Nothing reads them; that they fit says that the columns are understood."""
    root = real_data / "deeplesion"
    needed = ("Bounding_boxes", "Measurement_coordinates")
    from uls_data.outcome import Reason

    for name in TABLES:
        for row in read_rows(root / name, root, needed, Reason.ANNOTATION_UNREADABLE):
            box = np.array(row.reals("Bounding_boxes", 4, -1e4, 1e4))
            points = np.array(row.reals("Measurement_coordinates", 8, 0, 1e4)).reshape(4, 2)
            extent = np.concatenate([points.min(axis=0) - 5, points.max(axis=0) + 5])
            assert np.abs(box - extent).max() < 0.01


def test_groups_of_slices_never_touch(tables: dict[str, list[KeySliceRows]]) -> None:
    """So the unbroken run around a key slice is its Slice_range."""
    ranges: dict[str, set[tuple[int, int]]] = {}
    for cases in tables.values():
        for case in cases:
            assert case.stack is not None
            first = case.stack.first_slice
            ranges.setdefault(case.series, set()).add((first, first + case.stack.shape[2] - 1))
    holes = 0
    for found in ranges.values():
        ordered = sorted(found)
        for (_, last), (first, _) in pairwise(ordered):
            assert first > last + 1
            holes += 1
    assert (len(ranges), holes) == (2420, 833)


def on_slice(path: Path, z: int) -> NDArray[np.int64]:
    """RAS indices (x, y) in the scan of a published label's voxels on RAS slice z of the scan."""
    archive = zipfile.ZipFile(path)
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(archive.read(archive.namelist()[0])))
    origin = np.rint(image.affine[:3, 3] / np.diag(image.affine)[:3]).astype(int)
    mask = np.asarray(image.dataobj[:, :, z - origin[2]]).reshape(256, 256) > 0
    return np.argwhere(mask) + origin[:2]


@pytest.mark.parametrize(
    ("folder", "count"), [("DeepLesion", 7), ("DeepLesion3D", 6), ("DeepLesion3D-val", 133)]
)
def test_lines_lie_in_the_published_labels(
    real_data: Path, tables: dict[str, list[KeySliceRows]], folder: str, count: int
) -> None:
    known = {case.case_id: case for cases in tables.values() for case in cases}
    sides = []
    for path in sorted((real_data / "uls23-labels" / folder).glob("*.zip")):
        case = known.get("_".join(path.name.split("_")[:4]))
        if case is None:
            continue
        assert case.stack is not None
        z = case.stack.first_slice + case.stack.shape[2] - 1 - case.stack.key_slice
        if folder == "DeepLesion":  # those scans are symmetric about the key slice
            z = min(z, case.stack.key_slice - case.stack.first_slice)
        found = on_slice(path, z)
        assert len(found)
        # Of several lesions on a slice the label belongs to one.
        lines = [ras_lines(m.lines, unread_stack(case.stack)) for m in case.measurements]
        off = [np.hypot(*(found.mean(axis=0) - one.points.mean(axis=0))) for one in lines]
        nearest = lines[int(np.argmin(off))]
        assert min(off) < nearest.long_vox / 2
        # Outermost end points against the outer edges of the outermost pixels.
        low = nearest.points.min(axis=0) - (found.min(axis=0) - 0.5)
        high = nearest.points.max(axis=0) - (found.max(axis=0) + 0.5)
        sides.append((low + high) / 2)
    assert len(sides) == count
    if folder == "DeepLesion3D-val":
        # Masks that people drew: the half pixel of the recipe leaves no side farther off.
        assert np.abs(np.median(sides, axis=0)).max() < 0.25


def test_real_key_slices_near_an_edge_are_flagged(tables: dict[str, list[KeySliceRows]]) -> None:
    from uls_data.profile import PROFILES
    from uls_data.sources.case_files import CaseFiles
    from uls_data.sources.deeplesion.lesions import measured_lesions

    reader = load_recipe("deeplesion").recipe.reader
    assert isinstance(reader, DeepLesion)
    near = 0
    for case in tables["DL_info_val.csv"]:
        assert case.stack is not None
        at = case.stack.key_slice - case.stack.first_slice
        lesions = measured_lesions(
            CaseFiles(case.case_id, measurements=case.measurements),
            unread_stack(case.stack),
            {f"{case.case_id}.png": at},
            reader.coordinates.outward_vox,
            PROFILES["paper"],
        )
        near += Flag.KEY_SLICE_NEAR_EDGE in lesions[0].flags
    assert near == 32
