"""How far the two lines of a real reader go in 3D, against masks that other people drew."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from statistics import fmean

import nibabel
import numpy as np
import pytest

from uls_data.measure.overlap import dice
from uls_data.pseudomask.solid import solid
from uls_data.recipe import load_recipe
from uls_data.recipe.reader import DeepLesion
from uls_data.sources.deeplesion.png_stack import unread_stack
from uls_data.sources.deeplesion.table import read_table
from uls_data.sources.measured import ras_lines

pytestmark = pytest.mark.real


def test_ellipsoids_of_readers_lines_against_human_masks(real_data: Path) -> None:
    """The 133 lesions of DeepLesion3D's validation table whose masks people drew."""
    root = real_data / "deeplesion"
    reader = load_recipe("deeplesion").recipe.reader
    assert isinstance(reader, DeepLesion)
    cases = read_table(root / "DL_info_val.csv", root, reader.case, reader.coordinates)
    known = {case.case_id: case for case in cases}
    found: list[float] = []
    for path in sorted((real_data / "uls23-labels" / "DeepLesion3D-val").glob("*.zip")):
        case = known.get("_".join(path.name.split("_")[:4]))
        if case is None or case.stack is None:
            continue
        archive = zipfile.ZipFile(path)
        image = nibabel.Nifti1Image.from_bytes(gzip.decompress(archive.read(archive.namelist()[0])))
        spacing = np.abs(np.diag(image.affine)[:3])
        origin = np.rint(image.affine[:3, 3] / np.diag(image.affine)[:3]).astype(int)
        truth = np.asarray(image.dataobj).reshape(256, 256, 128) > 0
        stack = case.stack
        z = stack.first_slice + stack.shape[2] - 1 - stack.key_slice - origin[2]
        # Of several lesions on a slice the label belongs to one.
        every = [ras_lines(m.lines, unread_stack(stack)) for m in case.measurements]
        centre = np.argwhere(truth[:, :, z]).mean(axis=0) + origin[:2]
        lines = min(every, key=lambda one: np.hypot(*(one.points.mean(axis=0) - centre)))
        x, y, height = spacing
        drawn = np.zeros(truth.shape, bool)
        moved = lines.moved(-origin[0], -origin[1])
        outward_vox = reader.coordinates.outward_vox
        drawn[tuple(solid(moved, int(z), truth.shape, (x, y, height), outward_vox).T)] = True
        found.append(dice(drawn, truth))
    assert len(found) == 133
    assert round(fmean(found), 3) == 0.627
