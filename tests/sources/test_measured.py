"""Lines of a table become lines in RAS, and lesions that say what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.measured import make_deeplesion
from uls_data.errors import CaseError
from uls_data.measure.lines import Lines
from uls_data.outcome import Flag, Reason
from uls_data.profile import PROFILES, Profile
from uls_data.recipe import load_recipe
from uls_data.recipe.part import Coordinates
from uls_data.recipe.reader import DeepLesion
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.deeplesion.lesions import MeasuredScan, open_deeplesion
from uls_data.sources.find import find_cases
from uls_data.sources.measured import measured_lesions, ras_lines
from uls_data.sources.measurement import Measurement
from uls_data.volumes.volume import Volume

PAPER, PUBLISHED = PROFILES["paper"], PROFILES["published"]
COORDINATES = Coordinates(shift_vox=0, outward_vox=0.5, evidence="a test")
LINES = Lines((20, 30, 40, 30), (30, 24, 30, 36))
ONE = Measurement(1, "row-1", "a.png", LINES)


def volume(shape: tuple[int, int, int] = (64, 48, 20), flips: str = "LPI") -> Volume:
    signs = [1 if letter in "RAS" else -1 for letter in flips]
    return Volume(np.zeros(shape, np.int16), np.diag([*signs, 1.0]), 1, 0, "", ())


def lesions(
    *measurements: Measurement, at: int = 8, profile: Profile = PAPER
) -> list[tuple[int, Reason | None]]:
    case = CaseFiles("c", measurements=measurements)
    found = measured_lesions(
        case, volume(), {"a.png": at, "b.png": 9}, COORDINATES.outward_vox, profile
    )
    return [(lesion.index, lesion.skipped[0] if lesion.skipped else None) for lesion in found]


@given(
    points=st.lists(st.integers(0, 47), min_size=8, max_size=8),
    flips=st.sampled_from(["LPI", "RAS", "LPS", "RPI"]),
    exchanged=st.booleans(),
)
def test_lines_move_as_voxels_do(points: list[int], flips: str, exchanged: bool) -> None:
    lines = Lines.of(points)
    reference = volume(flips=flips)
    if exchanged:
        reference = replace(reference, stored_affine=reference.stored_affine[[1, 0, 2, 3]])
    turned = ras_lines(lines, reference)
    for (column, row), (x, y) in zip(lines.points, turned.points, strict=True):
        stored = np.zeros(reference.stored.shape, bool)
        stored[int(column), int(row), 3] = True
        assert np.argwhere(reference.orientation.apply(stored))[0, :2].tolist() == [x, y]


def test_readers_of_a_lesion_stay_together() -> None:
    case = CaseFiles(
        "c", measurements=(replace(ONE, reader=2), replace(ONE, number=2), replace(ONE, reader=1))
    )
    first, second = measured_lesions(case, volume(), {"a.png": 8}, COORDINATES.outward_vox, PAPER)
    assert [one.reader for one in first.measured] == [1, 2]
    assert [one.reader for one in second.measured] == [1]
    assert first.measured[0].slice_vox == 20 - 1 - 8
    assert first.measured[0].outward_vox == 0.5
    assert first.voxels.shape == (0, 3)


def test_what_cannot_be_used_says_why() -> None:
    outside = Lines((-9, 30, 40, 30), (30, 24, 30, 36))
    no_length = Lines((20, 30, 40, 30), (30, 30, 30, 30))
    flat = Lines((20, 30, 40, 30), (22, 30, 38, 31))
    for lines in (outside, no_length, flat):
        assert lesions(replace(ONE, lines=lines)) == [(1, Reason.DEGENERATE_LINES)]
    assert lesions(replace(ONE, slice_name="z.png")) == [(1, Reason.KEY_SLICE_MISSING)]
    assert lesions(replace(ONE, noisy=True)) == [(1, Reason.POSSIBLY_NOISY)]
    assert lesions(replace(ONE, noisy=True), profile=PUBLISHED) == [(1, None)]
    unread = replace(ONE, skipped=(Reason.ANNOTATION_UNREADABLE, "x"), lines=no_length)
    case = CaseFiles("c", measurements=(unread,))
    (lesion,) = measured_lesions(case, volume(), {"a.png": 8}, COORDINATES.outward_vox, PAPER)
    assert lesion.skipped == (Reason.ANNOTATION_UNREADABLE, "x")
    assert lesion.measured == ()


def test_one_good_reader_is_enough() -> None:
    bad = replace(ONE, reader=1, lines=Lines((20, 30, 40, 30), (30, 30, 30, 30)))
    case = CaseFiles("c", measurements=(bad, replace(ONE, reader=2)))
    (lesion,) = measured_lesions(case, volume(), {"a.png": 8}, COORDINATES.outward_vox, PAPER)
    assert lesion.skipped is None
    assert [one.reader for one in lesion.measured] == [2]


@pytest.mark.parametrize(
    ("at", "near"), [(0, True), (2, True), (3, False), (16, False), (17, True)]
)
def test_a_key_slice_near_an_end_is_flagged(at: int, near: bool) -> None:
    case = CaseFiles("c", measurements=(ONE,))
    (lesion,) = measured_lesions(case, volume(), {"a.png": at}, COORDINATES.outward_vox, PAPER)
    assert lesion.flags == ((Flag.KEY_SLICE_NEAR_EDGE,) if near else ())


def test_lines_that_do_not_cross_are_flagged_and_kept() -> None:
    apart = replace(ONE, lines=Lines((20, 30, 40, 30), (30, 31, 30, 40)))
    case = CaseFiles("c", measurements=(apart,))
    (lesion,) = measured_lesions(case, volume(), {"a.png": 8}, COORDINATES.outward_vox, PAPER)
    assert lesion.skipped is None
    assert lesion.flags == (Flag.AXES_DO_NOT_CROSS,)


def test_slices_that_are_not_axial_are_refused() -> None:
    sagittal = replace(volume(), stored_affine=np.eye(4)[[2, 0, 1, 3]])
    with pytest.raises(CaseError) as caught:
        measured_lesions(
            CaseFiles("c", measurements=(ONE,)), sagittal, {}, COORDINATES.outward_vox, PAPER
        )
    assert caught.value.reason == Reason.UNEXPECTED_AXIS_ORDER


# --- The made-up archive, opened -------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("deeplesion")
    make_deeplesion(root, 1)
    return root


def opened(
    root: Path, name: str, *, labels_only: bool = False, profile: Profile = PAPER
) -> MeasuredScan:
    recipe = load_recipe("deeplesion").recipe
    assert isinstance(recipe.reader, DeepLesion)
    cases = find_cases(recipe, root, need_images=not labels_only)
    (case,) = (case for case in cases if case.case_id == name)
    assert case.problem is None
    return open_deeplesion(case, recipe.reader, root, labels_only=labels_only, profile=profile)


def test_lines_lie_on_their_lesion(archive: Path) -> None:
    for name in ("000001_01_01_112", "000005_01_01_1006", "000004_02_01_071"):
        scan = opened(archive, name)
        assert scan.scan is not None
        for lesion in scan.lesions:
            (one,) = lesion.measured
            x, y = np.rint(one.lines.points.mean(axis=0)).astype(int)
            hu = scan.scan.ras[:, :, one.slice_vox].astype(float)
            inside = hu[x - 2 : x + 3, y - 2 : y + 3].mean()
            low, high = one.lines.points.min(axis=0) - 5, one.lines.points.max(axis=0) + 5
            ring = [
                hu[int(low[0]), y],
                hu[int(high[0]), y],
                hu[x, int(low[1])],
                hu[x, int(high[1])],
            ]
            assert inside > np.mean(ring) + 10


def test_labels_alone_have_the_same_lesions_and_grid(archive: Path) -> None:
    for name in ("000001_01_01_112", "000002_01_01_001", "000005_01_01_1006"):
        for profile in (PAPER, PUBLISHED):
            full = opened(archive, name, profile=profile)
            bare = opened(archive, name, labels_only=True, profile=profile)
            assert bare.scan is None
            assert bare.reference.stored.strides == (0, 0, 0)
            assert bare.reference.ras.shape == full.reference.ras.shape
            assert np.array_equal(bare.reference.affine, full.reference.affine)
            assert bare.flags == full.flags
            for one, other in zip(bare.lesions, full.lesions, strict=True):
                assert replace(one, voxels=None) == replace(other, voxels=None)


def test_the_published_archive_has_the_first_row_of_a_key_slice(archive: Path) -> None:
    lesions = opened(archive, "000001_01_01_112", profile=PUBLISHED).lesions
    reasons = [lesion.skipped and lesion.skipped[0] for lesion in lesions]
    assert reasons == [None, Reason.NOT_FIRST_ON_SLICE]
    assert [one.skipped for one in opened(archive, "000001_01_01_112").lesions] == [None, None]


def test_the_published_scan_is_symmetric_about_the_key_slice(archive: Path) -> None:
    full = opened(archive, "000001_01_01_118")
    cut = opened(archive, "000001_01_01_118", profile=PUBLISHED)
    z = full.lesions[0].measured[0].slice_vox
    assert z == 6
    assert cut.reference.ras.shape[2] == 13
    assert cut.lesions[0].measured[0].slice_vox == 6
    assert np.array_equal(cut.reference.ras, full.reference.ras[:, :, :13])


def test_the_published_archive_left_out_key_slices_near_the_feet_s_end(archive: Path) -> None:
    few = replace(PUBLISHED, minimum_slices_above=7)
    (lesion,) = opened(archive, "000001_01_01_118", profile=few).lesions
    assert lesion.skipped is not None
    assert lesion.skipped[0] == Reason.FEW_SLICES_ABOVE
    assert opened(archive, "000001_01_01_118", profile=PUBLISHED).lesions[0].skipped is None
    # The first slice of its scan has 23 of higher number and none of lower.
    (edge,) = opened(archive, "000002_01_01_001", profile=PUBLISHED).lesions
    assert edge.skipped is None
    assert edge.flags == (Flag.KEY_SLICE_NEAR_EDGE,)
