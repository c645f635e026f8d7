"""Trials of neighbouring slices and of rules about air, on a made-up case."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from tools import tried_2d


def test_a_table_of_what_was_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    x, y = np.ogrid[:64, :64]
    disc = (x - 32) ** 2 + (y - 30) ** 2 < 11**2
    mask = np.repeat(disc[:, :, None], 5, axis=2)
    hu = np.random.default_rng(1).normal(0, 10, mask.shape) - 60 + 110 * mask
    hu[:20] = -1000  # air, two pixels from the lesion
    folder = tmp_path / "STS_002"
    folder.mkdir()
    for name, voxels in (("image", hu.astype(np.int16)), ("mask", mask.astype(np.uint8))):
        image = nibabel.Nifti1Image(voxels, np.eye(4))
        nibabel.save(image, folder / f"CT_{name}.nii.gz")
    monkeypatch.setattr("sys.argv", ["tried_2d", str(tmp_path), "--even", "--slices", "2"])
    tried_2d.main()
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith("1 patients")
    clean = {line[:20].strip(): float(line[20:].split()[0]) for line in lines}
    assert clean.keys() == tried_2d.TRIED.keys()
    assert clean["vote 5 / 5 / 1.5"] > 0.95
    assert clean["jury"] > 0.95 and clean["neighbours 0.1 each"] > 0.95
    # The tissue between lesion and air is not lesion here.
    assert clean["2 px to air"] < clean["jury"] and clean["less air"] == clean["jury"]
