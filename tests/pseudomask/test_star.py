from __future__ import annotations

import numpy as np

from uls_data.pseudomask.features import RADII, RAYS
from uls_data.pseudomask.star import outline

LOOSE = np.full(RAYS, 1e-3)


def test_evidence_alone_gives_its_own_edge() -> None:
    edge = 1 + 0.2 * np.cos(2 * np.pi * np.arange(RAYS) / RAYS * 2)
    evidence = np.where(RADII[None, :] <= edge[:, None], 1.0, -1.0)
    found = outline(evidence, RADII, LOOSE, 0.01)
    assert np.abs(found - edge).max() < RADII[1] - RADII[0]


def test_no_evidence_gives_the_prior() -> None:
    found = outline(np.zeros((RAYS, len(RADII))), RADII, LOOSE + 10, 1.0)
    assert np.abs(found - 1).max() < 0.02


def test_smoothness_bridges_rays_that_see_nothing_of_the_edge() -> None:
    evidence = np.tile(np.where(RADII <= 1.2, 1.0, -1.0), (RAYS, 1))
    evidence[10:14] = 1.0  # a leak
    assert outline(evidence, RADII, LOOSE, 0.01)[12] > 1.4
    assert outline(evidence, RADII, LOOSE, 50.0)[12] < 1.3


def test_the_outline_closes_wherever_the_rays_begin() -> None:
    random = np.random.default_rng(3)
    evidence = random.normal(size=(RAYS, len(RADII))).cumsum(axis=1)
    found = outline(evidence, RADII, LOOSE + 0.5, 2.0)
    turned = outline(np.roll(evidence, 17, axis=0), RADII, LOOSE + 0.5, 2.0)
    assert np.allclose(np.roll(found, 17), turned)
