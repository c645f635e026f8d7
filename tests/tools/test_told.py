"""Networks that are told the lines, as teachers whose masks certificates judge."""

from __future__ import annotations

from pathlib import Path

import pytest
from makers.vois import tiny_plan, write_voi, write_vois

from tools.certified_lesions import made_up
from tools.told import Told
from uls_data import train
from uls_data.network.plan import Prompt


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Two networks, hardly more than the ellipsoid that they start from."""
    out = tmp_path_factory.mktemp("told")
    write_vois(out / "vois", [write_voi(out / "vois", f"p{n}", 8 + n) for n in range(3)])
    plan = tiny_plan().model_copy(
        update={"crop": (16, 32, 32), "pool": (1, 1, 1), "prompt": Prompt()}
    )
    folders = tuple(out / f"m{seed}" for seed in (0, 1))
    start: Path | None = None
    for folder in folders:
        train(out / "vois", folder, plan=plan, init=start, device="cpu", steps=2, workers=1)
        start = folder
    return folders


def test_masks_of_networks_are_measured(models: tuple[Path, ...]) -> None:
    one = next(made_up(3, 0, told=Told(models)))
    plain = next(made_up(3, 0))
    assert one.mask.identity == plain.mask.identity
    assert one.mask.dice is not None and 0.4 < one.mask.dice < 1
    for name in ("predicted_dice", "uncertainty", "click_dice", "view_disagreement"):
        value = one.mask.measures[name]
        assert value is not None and 0 <= value <= 1 and plain.mask.measures[name] is None
    assert next(made_up(3, 0, told=Told(models))) == one
