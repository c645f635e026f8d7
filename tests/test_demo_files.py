"""Made-up MetaImage and NRRD files are those that SimpleITK writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from demo.files import write_itk

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def by_itk(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    lps = LPS @ affine
    spacing = np.sqrt((lps[:3, :3] ** 2).sum(axis=0))
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose()))
    image.SetSpacing([float(v) for v in spacing])
    image.SetOrigin([float(v) for v in lps[:3, 3]])
    image.SetDirection([float(v) for v in (lps[:3, :3] / spacing).ravel()])
    sitk.WriteImage(image, str(path), False)


@pytest.mark.parametrize("suffix", [".mhd", ".mha", ".nrrd"])
@given(
    dtype=st.sampled_from(["uint8", "int16", "uint16", "int32", "int64", "float32", "float64"]),
    codes=st.permutations(range(3)),
    degrees=st.sampled_from([0.0, 5.0, -12.5]),
    spacing=st.tuples(*[st.sampled_from([0.7, 0.9, 1.0, 2.5, 0.976562])] * 3),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
)
def test_bytes_are_itks(
    tmp_path: Path,
    suffix: str,
    dtype: str,
    codes: list[int],
    degrees: float,
    spacing: tuple[float, ...],
    origin: tuple[float, ...],
) -> None:
    data = np.arange(24).reshape(2, 3, 4).astype(dtype)
    affine = np.eye(4)
    turned = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    affine[:3, :3] = (turned * np.array([1, -1, -1]))[:, codes] * np.array(spacing)
    affine[:3, 3] = origin
    names = [f"a{suffix}", *(["a.raw"] if suffix == ".mhd" else [])]
    (tmp_path / "itk").mkdir(exist_ok=True)
    by_itk(tmp_path / "itk" / names[0], data, affine)
    write_itk(tmp_path / "ours" / names[0], data, affine)
    for name in names:
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "itk" / name).read_bytes()
