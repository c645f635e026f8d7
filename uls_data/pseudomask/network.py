"""A small convolutional network on a chart, in numpy: inside or outside, node by node.

Arrays are (lesions, rays, radii, channels). Rays close on themselves, radii end in zeros.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# Taps along the rays reach further in every layer; along the radius they are neighbours.
_REACH = (1, 2, 4)
_DIGITS = 5


@dataclass
class Network:
    """Weights: three layers of 3 x 3 taps, then one number per node.

    Attributes
    ----------
    kernels : list of ndarray, shape (9, channels in, channels out); the last (1, channels, 1)
    biases : list of ndarray, shape (channels out,)
    """

    kernels: list[Floats]
    biases: list[Floats]

    @staticmethod
    def random(channels: int, width: int, random: np.random.Generator) -> Network:
        """Return a network before training."""
        sizes = [channels, *[width] * len(_REACH)]
        kernels = [random.normal(0, np.sqrt(2 / (9 * a)), (9, a, b)) for a, b in pairwise(sizes)]
        kernels.append(np.zeros((1, width, 1)))
        biases = [np.zeros(kernel.shape[2]) for kernel in kernels]
        return Network(*([w.astype(np.float32) for w in ws] for ws in (kernels, biases)))

    def logits(self, x: Floats) -> Floats:
        """Log odds that a node is inside, shape (lesions, rays, radii)."""
        return self._forward(x)[-1][..., 0]

    def gradient(self, x: Floats, slope: Callable[[Floats], Floats]) -> list[Floats]:
        """Sum over all nodes of `slope` times the derivative of the logit by each weight.

        `slope` is a function of the logits; the result is in the order of `weights`.
        """
        layers = self._forward(x)
        back: Floats = slope(layers[-1][..., 0])[..., None]
        kernels, biases = [], []
        for i in reversed(range(len(self.kernels))):
            if i < len(_REACH):
                back = back * (layers[i + 1] > 0)
            biases.append(back.sum(axis=(0, 1, 2)))
            kernel = np.empty_like(self.kernels[i])
            inner = np.zeros_like(layers[i]) if i else None
            flat = back.reshape(-1, back.shape[-1])
            for tap, (ray, radius) in enumerate(_taps(i)):
                seen = _moved(layers[i], ray, radius)
                kernel[tap] = seen.reshape(-1, seen.shape[-1]).T @ flat
                if inner is not None:
                    inner += _moved(back @ self.kernels[i][tap].T, -ray, -radius)
            kernels.append(kernel)
            if inner is not None:
                back = inner
        return [*kernels[::-1], *biases[::-1]]

    @property
    def weights(self) -> list[Floats]:
        """All arrays: kernels, then biases."""
        return [*self.kernels, *self.biases]

    def _forward(self, x: Floats) -> list[Floats]:
        layers = [x]
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            total = np.zeros((*x.shape[:3], kernel.shape[2]), np.float32) + bias
            for tap, (ray, radius) in enumerate(_taps(i)):
                total += _moved(layers[-1], ray, radius) @ kernel[tap]
            layers.append(np.maximum(total, 0) if i < len(_REACH) else total)
        return layers

    def to_json(self, **about: Any) -> str:
        """Weights as text, rounded."""
        rounded = [np.round(w.astype(np.float64), _DIGITS).tolist() for w in self.weights]
        return json.dumps({**about, "weights": rounded}, separators=(",", ":")) + "\n"

    @staticmethod
    def from_json(text: str) -> Network:
        """Read what `to_json` wrote."""
        arrays = [np.array(w, dtype=np.float32) for w in json.loads(text)["weights"]]
        half = len(arrays) // 2
        return Network(arrays[:half], arrays[half:])


def _taps(layer: int) -> Iterator[tuple[int, int]]:
    if layer == len(_REACH):
        yield 0, 0
        return
    for ray in (-_REACH[layer], 0, _REACH[layer]):
        for radius in (-1, 0, 1):
            yield ray, radius


def _moved(x: Floats, ray: int, radius: int) -> Floats:
    """Bring to every node what lies `ray` and `radius` further."""
    if ray:
        x = np.concatenate([x[:, ray:], x[:, :ray]], axis=1)
    if radius:
        moved = np.zeros_like(x)
        if radius > 0:
            moved[:, :, :-radius] = x[:, :, radius:]
        else:
            moved[:, :, -radius:] = x[:, :, :radius]
        x = moved
    return x
