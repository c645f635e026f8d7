from __future__ import annotations

import json

import numpy as np
import pytest

from tools.phantom import phantom
from uls_data.measure.lines import jittered
from uls_data.measure.overlap import dice
from uls_data.pseudomask.jury import judge, shipped_quality
from uls_data.pseudomask.quality import Quality, calibrate, calibration_error


def made_up(count: int, seed: int) -> tuple[list[dict[str, float]], list[float]]:
    random = np.random.default_rng(seed)
    table = random.normal(size=(count, 3))
    truth = 1 - 0.1 * np.exp(0.5 * table[:, 0] - 0.3 * table[:, 1] + random.normal(0, 0.2, count))
    measures = [dict(zip("abc", map(float, row), strict=True)) for row in table]
    return measures, np.clip(truth, 0, 1).tolist()


def test_what_is_learned_holds_on_other_lesions() -> None:
    quality = calibrate(*made_up(400, 1))
    measures, truth = made_up(300, 2)
    predicted = [quality.predicted(one) for one in measures]
    assert calibration_error(predicted, truth) < 0.02
    assert np.corrcoef(predicted, truth)[0, 1] > 0.7
    assert min(predicted) >= 0
    assert max(predicted) <= 1


def test_lesions_that_count_nothing_teach_nothing() -> None:
    measures, truth = made_up(200, 1)
    wrong = [0.0] * 200
    plain = calibrate(measures, truth)
    mixed = calibrate(measures + measures, truth + wrong, [1.0] * 200 + [0.0] * 200)
    for one in measures[:20]:
        assert mixed.predicted(one) == pytest.approx(plain.predicted(one), abs=0.03)


def test_it_survives_being_written() -> None:
    measures, truth = made_up(100, 5)
    quality = calibrate(measures, truth)
    text = quality.to_json(source="a test")
    assert json.loads(text)["source"] == "a test"
    again = Quality.from_json(text)
    assert again.predicted(measures[0]) == pytest.approx(quality.predicted(measures[0]), abs=1e-3)


def test_too_few_lesions_are_refused() -> None:
    measures, truth = made_up(3, 1)
    with pytest.raises(ValueError, match="too few"):
        calibrate(measures, truth)


def test_the_error_of_a_calibration_by_hand() -> None:
    assert calibration_error([0.5, 0.5, 0.9, 0.9], [0.4, 0.6, 0.8, 0.8], bins=2) == pytest.approx(
        0.05
    )


def test_shipped_calibration_on_phantoms_it_never_saw() -> None:
    predicted, truth = [], []
    for number in range(50):
        made = phantom(("calibration test", number))
        key_slice = made.key_slice
        if number % 2:
            lines = jittered(key_slice.lines, np.random.default_rng(number))
            key_slice = type(key_slice)(key_slice.hu, lines, key_slice.spacing_mm)
        verdict = judge(key_slice)
        predicted.append(shipped_quality().predicted(verdict.measures))
        truth.append(dice(verdict.masks["fused"], made.mask))
    assert calibration_error(predicted, truth, bins=5) <= 0.05
    assert max(predicted) - min(predicted) > 0.01  # it does say something
