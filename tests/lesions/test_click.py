"""The click: uniform over the lesion, and a function of its identity alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from uls_data.ids import draw
from uls_data.lesions import Lesion, click_of, find_lesions
from uls_data.lesions.click import published_rank
from uls_data.profile import PROFILES
from uls_data.recipe import load_recipe
from uls_data.volumes.volume import Volume

PAPER, PUBLISHED = PROFILES["paper"], PROFILES["published"]
BOX = (40, 30, 20)
IDENTITIES = 3000


def box_lesion(index: int = 1) -> Lesion:
    return Lesion(index, np.argwhere(np.ones(BOX)).astype(np.int32))


@pytest.fixture(scope="module")
def clicks() -> np.ndarray:
    lesion = box_lesion()
    return np.array(
        [click_of(lesion, PAPER, 0, "lits", str(case), 0) for case in range(IDENTITIES)]
    )


def ks(places: np.ndarray, size: int) -> float:
    """p-value against uniform; half a step puts whole numbers in the middle of their cell."""
    return float(stats.kstest((places + 0.5) / size, "uniform").pvalue)


def test_ranks_are_uniform(clicks: np.ndarray) -> None:
    assert ks(np.ravel_multi_index(tuple(clicks.T), BOX), int(np.prod(BOX))) > 0.01


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_places_are_uniform_along_each_axis(clicks: np.ndarray, axis: int) -> None:
    counts = np.bincount(clicks[:, axis], minlength=BOX[axis])
    assert len(counts) == BOX[axis]
    assert stats.chisquare(counts).pvalue > 0.01
    # A cell is wide here: spread each click over its own, so that the test is of the steps.
    spread = np.random.default_rng(axis).uniform(size=IDENTITIES)
    assert stats.kstest((clicks[:, axis] + spread) / BOX[axis], "uniform").pvalue > 0.01


@pytest.mark.parametrize("part", [0, 3, 4])
def test_ranks_are_uniform_over_each_number_of_the_identity(part: int) -> None:
    ranks = []
    for number in range(IDENTITIES):
        identity: list[str | int] = [0, "lits", "0", 1, 0]
        identity[part] = number
        ranks.append(draw(24_000, *identity))
    assert ks(np.array(ranks), 24_000) > 0.01
    # Neighbours know nothing of each other.
    assert abs(stats.spearmanr(ranks[:-1], ranks[1:]).statistic) < 0.06


def test_the_published_clicks_were_not_uniform() -> None:
    # Why the paper profile draws again: the published rank follows from the count, and leans high.
    share = [(published_rank(n, 0) + 0.5) / n for n in range(50, 3000)]
    assert stats.kstest(share, "uniform").pvalue < 1e-6


def test_a_click_does_not_depend_on_order_or_on_other_lesions() -> None:
    recipe = load_recipe("lits").recipe
    mask = np.zeros((30, 20, 10), dtype=np.uint8)
    mask[2:8, 3:9, 2:7] = mask[12:18, 3:9, 2:7] = mask[22:28, 3:9, 2:7] = 2

    def clicked(mask: np.ndarray, backwards: bool = False) -> dict[tuple[int, int], tuple]:
        scan = Volume(mask, np.eye(4), 1.0, 0.0, "", ())
        lesions = find_lesions(scan, recipe, "m")
        jobs = [(lesion, sample) for lesion in lesions for sample in range(3)]
        return {
            (lesion.index, sample): click_of(lesion, PAPER, 5, "lits", "7", sample)
            for lesion, sample in (jobs[::-1] if backwards else jobs)
        }

    everything = clicked(mask)
    assert len(everything) == 9
    assert clicked(mask, backwards=True) == everything
    alone = mask.copy()
    alone[10:] = 0
    assert clicked(alone) == {key: at for key, at in everything.items() if key[0] == 1}
    assert all(mask[at] == 2 for at in everything.values())


def test_every_part_of_the_identity_counts() -> None:
    lesion = box_lesion()
    found = {
        click_of(lesion, PAPER, 0, "lits", "1", 0),
        click_of(lesion, PAPER, 1, "lits", "1", 0),
        click_of(lesion, PAPER, 0, "kits21", "1", 0),
        click_of(lesion, PAPER, 0, "lits", "2", 0),
        click_of(lesion, PAPER, 0, "lits", "1", 1),
        click_of(box_lesion(index=2), PAPER, 0, "lits", "1", 0),
    }
    assert len(found) == 6
    # Parts do not run into each other.
    assert draw(10**9, 0, "a", "bc", 1, 0) != draw(10**9, 0, "ab", "c", 1, 0)
    assert draw(10**9, 0, "a", "b", 11, 0) != draw(10**9, 0, "a", "b", 1, 10)
    assert draw(10**9, 0, "a", "1") != draw(10**9, 0, "a", 1)


def test_a_draw_never_changes() -> None:
    # Changing these moves every VOI of every archive built so far. They can be checked by hand:
    # printf '[0,"lits","0",1,0]' | sha256sum, as a number, modulo 1000.
    assert draw(1000, 0, "lits", "0", 1, 0) == 784
    assert draw(1000, 42, "kits21", "case_00000", 12, 3) == 813
    assert draw(10**6, 0, "lidc_idri", 'é/"x', 1, 0) == 7415
    assert draw(1, 0, "lits", "0", 1, 0) == 0
    with pytest.raises(ValueError, match="0 outcomes"):
        draw(0, 0, "lits", "0", 1, 0)


def test_the_click_is_the_voxel_of_the_drawn_rank() -> None:
    lesion = box_lesion(index=3)
    rank = draw(len(lesion.voxels), 9, "lits", "4", 3, 2)
    assert click_of(lesion, PAPER, 9, "lits", "4", 2) == np.unravel_index(rank, BOX)


@pytest.mark.parametrize(
    ("count", "rank"),
    # Voxels of published labels, and which of them (C order) is at index (128, 128, 64).
    {4: 2, 142: 122, 487: 378, 602: 332, 606: 332, 1186: 970, 2530: 2380, 11224: 8058}.items(),
)
def test_published_ranks_as_measured_on_published_labels(count: int, rank: int) -> None:
    assert published_rank(count, 0) == rank


def test_published_ranks_never_change() -> None:
    assert [published_rank(1000, sample) for sample in range(3)] == [890, 642, 604]
    assert [published_rank(123_456, sample) for sample in range(3)] == [89978, 27266, 80476]


def test_the_published_click_is_a_function_of_the_count_alone() -> None:
    first = box_lesion(index=1)
    other = Lesion(8, first.voxels[::-1] + np.array([5, 0, 3], dtype=np.int32))
    rank = published_rank(len(first.voxels), 1)
    for lesion, seed, source, case in [(first, 0, "lits", "1"), (other, 9, "kits21", "b")]:
        click = click_of(lesion, PUBLISHED, seed, source, case, 1)
        assert click == tuple(lesion.voxels[rank])
