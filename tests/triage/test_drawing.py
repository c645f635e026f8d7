"""Slices and outlines: what is drawn is where it is."""

from __future__ import annotations

import io
import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from uls_data.geometry import bounding_box
from uls_data.triage.outline import PLANES, outlines
from uls_data.triage.png import slice_png


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_a_slice_is_turned_windowed_and_its_padding_is_no_grey() -> None:
    plane = np.full((5, 3), 40, np.int16)
    plane[0, 0], plane[4, 0], plane[0, 2] = 1000, -1000, -2000
    shown = opened(slice_png(plane, (-135.0, 215.0), -2000))
    assert shown.shape == (3, 5, 3)
    assert shown[2, 4].tolist() == [255, 255, 255]
    assert shown[2, 0].tolist() == [0, 0, 0]
    red, green, _ = shown[0, 4].tolist()
    assert red > green, "padding has a colour"
    middle = shown[1, 2]
    assert len(set(middle.tolist())) == 1 and abs(int(middle[0]) - 127) <= 1


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.int16, np.int32]))
def test_a_slice_is_monotone_in_hu(seed: int, dtype: type) -> None:
    plane = np.random.default_rng(seed).integers(-2000, 3000, (9, 7)).astype(dtype)
    grey = opened(slice_png(plane, (-1200.0, 200.0), None))[::-1, ::-1, 0].T.astype(int)
    order = np.argsort(plane.ravel())
    assert (np.diff(grey.ravel()[order]) >= 0).all()
    assert (np.abs(grey - np.clip((plane + 1200.0) / 1400, 0, 1) * 255) <= 1).all()


def filled(path: str, width: int, height: int) -> np.ndarray:
    """Pixels inside a path of straight edges, by crossings from the left."""
    crossings = np.zeros((height, width + 1), int)
    edges = 0
    for x, y, letter, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", path):
        edges += 1
        if letter == "v":
            crossings[int(y) : int(y) + int(length), int(x)] += 1
    assert path.count("M") == edges
    return np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1


@given(st.integers(0, 2**32 - 1))
def test_outlines_hold_the_mask_and_nothing_else(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (13, 11, 9)
    mask = np.zeros(shape, bool)
    mask[random.random(shape) < random.choice([0.02, 0.3, 0.9])] = True
    mask[tuple(random.integers(0, shape))] = True
    box, start = bounding_box(mask)
    for (right, down, across), paths in zip(PLANES, outlines(box, start, shape), strict=True):
        planes = mask.transpose(across, down, right)[:, ::-1, ::-1]
        assert set(paths) == set(np.flatnonzero(planes.any(axis=(1, 2))))
        for at, path in paths.items():
            assert np.array_equal(filled(path, shape[right], shape[down]), planes[at])
            ends = [int(x) for x in re.findall(r"h(\d+)", path)]
            edges = np.pad(planes[at], 1).astype(int)
            assert sum(ends) == int(np.abs(np.diff(edges, axis=0)).sum())
