from __future__ import annotations

import numpy as np
import pytest

from uls_data.pseudomask.network import Network


@pytest.fixture
def small(rng: np.random.Generator) -> Network:
    network = Network.random(3, 4, rng)
    for weights in network.weights:
        weights += rng.normal(0, 0.2, weights.shape).astype(np.float32)
    return network


def test_gradients_are_those_of_finite_differences(
    small: Network, rng: np.random.Generator
) -> None:
    x = rng.normal(size=(2, 10, 6, 3)).astype(np.float32)
    aim = rng.normal(size=(2, 10, 6)).astype(np.float32)
    gradient = small.gradient(x, lambda logits: logits - aim)
    for weights, found in zip(small.weights, gradient, strict=True):
        assert weights.shape == found.shape
        at = tuple(rng.integers(0, size) for size in weights.shape)
        before, losses = weights[at].copy(), []
        for step in (0.01, -0.01):
            weights[at] = before + step
            losses.append(float(((small.logits(x) - aim).astype(np.float64) ** 2).sum() / 2))
        weights[at] = before
        assert found[at] == pytest.approx((losses[0] - losses[1]) / 0.02, rel=0.05, abs=0.05)


def test_turning_the_rays_turns_the_answer(small: Network, rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 12, 6, 3)).astype(np.float32)
    turned = small.logits(np.roll(x, 5, axis=1))
    assert np.allclose(turned, np.roll(small.logits(x), 5, axis=1), atol=1e-4)


def test_weights_survive_being_written(small: Network, rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 12, 6, 3)).astype(np.float32)
    text = small.to_json(source="a test")
    again = Network.from_json(text)
    assert again.to_json(source="a test") == text
    assert np.allclose(again.logits(x), small.logits(x), atol=1e-2)
