"""Priors, GrabCut and the released engine on real CT, human masks and released weak masks."""

from __future__ import annotations

import csv
import gzip
import hashlib
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cc3d
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from skimage.draw import polygon2mask

from uls_data.measure.lines import Lines, jittered
from uls_data.pseudomask.grabcut import grabcut
from uls_data.pseudomask.key_slice import KeySlice, PseudoMask
from uls_data.pseudomask.prior import ellipse, joint, quadrilateral, quarter_ellipses
from uls_data.pseudomask.published import _box, published_ellipse, table_lines

pytestmark = pytest.mark.real

GOLDEN = Path(__file__).parents[1] / "golden" / "deeplesion_ellipses.txt"
CASES = {
    "lung1": ("pyradiomics-lung1/lung1_image.nrrd", "pyradiomics-lung1/lung1_label.nrrd"),
    "ibsi": (
        "ibsi-ct-phantom/nifti/image/phantom.nii.gz",
        "ibsi-ct-phantom/nifti/mask/mask.nii.gz",
    ),
    "STS_003": ("ibsi-sts/STS_003/CT_image.nii.gz", "ibsi-sts/STS_003/CT_mask.nii.gz"),
    "STS_050": ("ibsi-sts/STS_050/CT_image.nii.gz", "ibsi-sts/STS_050/CT_mask.nii.gz"),
}
# Few slices are small, and jitter moves them most: priors are cheap, and see more draws.
DRAWS, FEW_DRAWS = 12, 3
Mask = NDArray[np.bool_]
Row = dict[str, str]


def dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def shown(text: str) -> None:
    sys.stderr.write(text + "\n")


# Four CT cases, with lines from their own masks ------------------------------------------------


def ras(path: Path) -> NDArray[np.float64]:
    if path.suffix == ".nrrd":
        image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "RAS")
        array: NDArray[np.float64] = sitk.GetArrayFromImage(image).T.astype(np.float64)
        return array
    return np.asarray(nibabel.as_closest_canonical(nibabel.load(path)).dataobj, dtype=np.float64)


@pytest.fixture(scope="module")
def slices(real_data: Path) -> dict[str, list[tuple[KeySlice, Mask]]]:
    """Of every case, all slices with 25 pixels or more: lines as drawn, and jittered."""
    found: dict[str, list[tuple[KeySlice, Mask]]] = {}
    for case, (scan, label) in CASES.items():
        hu, mask = ras(real_data / scan), ras(real_data / label) != 0
        for z in np.flatnonzero(mask.sum(axis=(0, 1)) >= 25).tolist():
            labels = cc3d.connected_components(mask[:, :, z].astype(np.uint8), connectivity=4)
            human = labels == np.bincount(labels.ravel())[1:].argmax() + 1
            lines = Lines.from_mask(human)
            if human.sum() < 25 or lines is None:
                continue
            random = np.random.default_rng([zlib.crc32(case.encode()), z])
            drawn = KeySlice(np.rint(hu[:, :, z]).astype(np.int16), lines, (1.0, 1.0))
            for draw in range(1 + DRAWS):
                some = lines if draw == 0 else jittered(lines, random)
                given = replace(drawn, lines=some, identity=(case, z, draw))
                found.setdefault(case, []).append((given, human))
    return found


def mean_dice(
    slices: dict[str, list[tuple[KeySlice, Mask]]],
    method: Callable[[KeySlice], PseudoMask],
    outward: float = 0.0,
    draws: int = DRAWS,
) -> tuple[float, float]:
    """Mean over cases: lines as drawn, and jittered."""
    clean, noisy = [], []
    for pairs in slices.values():
        scores: dict[bool, list[float]] = {True: [], False: []}
        for given, human in pairs:
            draw = int(given.identity[-1])
            if draw <= draws:
                mask = method(replace(given, outward_vox=outward)).mask
                scores[draw == 0].append(dice(mask, human))
        clean.append(np.mean(scores[True]))
        noisy.append(np.mean(scores[False]))
    return float(np.mean(clean)), float(np.mean(noisy))


def test_priors_on_ct(slices: dict[str, list[tuple[KeySlice, Mask]]]) -> None:
    assert sum(map(len, slices.values())) == (1 + DRAWS) * 74
    rows = {
        "quarter-ellipses": mean_dice(slices, quarter_ellipses),
        "quarter-ellipses + 0.5": mean_dice(slices, quarter_ellipses, 0.5),
        "ellipse": mean_dice(slices, ellipse),
        "ellipse + 0.5": mean_dice(slices, ellipse, 0.5),
        "quadrilateral": mean_dice(slices, quadrilateral),
    }
    for name, (clean, noisy) in rows.items():
        shown(f"{name:<24} clean {clean:.4f}  jittered {noisy:.4f}")
    assert rows["quarter-ellipses"] == pytest.approx((0.943, 0.900), abs=0.005)
    assert rows["ellipse + 0.5"] == pytest.approx((0.926, 0.889), abs=0.005)


@pytest.mark.slow
def test_grabcut_on_ct(slices: dict[str, list[tuple[KeySlice, Mask]]]) -> None:
    clean, noisy = mean_dice(slices, grabcut, draws=FEW_DRAWS)
    shown(f"{'grabcut':<24} clean {clean:.4f}  jittered {noisy:.4f}")
    assert clean >= 0.926 and noisy >= 0.889


# Human masks of DeepLesion3D, with the lines of the public table -------------------------------


def table(path: Path) -> dict[str, Row]:
    """First row of every key slice."""
    rows: dict[str, Row] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            rows.setdefault(row["File_name"].removesuffix(".png"), row)
    return rows


def numbers(text: str) -> list[float]:
    return [float(value) for value in text.split(",")]


def size(row: Row) -> tuple[int, int]:
    columns, rows = (int(value) for value in numbers(row["Image_size"]))
    return columns, rows


def lines_in_ras(row: Row, shift: float) -> Lines:
    points = np.reshape(numbers(row["Measurement_coordinates"]), (4, 2))
    return Lines.of(np.array(size(row)) - 1 - (points - shift))


def released(path: Path) -> tuple[NDArray[np.bool_], NDArray[np.int_]]:
    """A released label, and the index of its first voxel in the whole volume."""
    with zipfile.ZipFile(path) as archive:
        image = nibabel.Nifti1Image.from_bytes(gzip.decompress(archive.read(archive.namelist()[0])))
    voxels = np.asarray(image.dataobj).reshape(image.shape[:3]) > 0
    return voxels, np.rint(image.affine[:3, 3] / np.diag(image.affine)[:3]).astype(int)


def on_slice(plane: Mask, start: NDArray[np.int_], shape: tuple[int, int]) -> Mask:
    """A released plane where it lies in its slice."""
    whole = np.zeros(shape, dtype=bool)
    at = np.argwhere(plane) + start[:2]
    at = at[((at >= 0) & (at < shape)).all(axis=1)]
    whole[at[:, 0], at[:, 1]] = True
    return whole


@pytest.fixture(scope="module")
def human_slices(real_data: Path) -> list[tuple[Row, Mask, slice, slice]]:
    """Table row, human mask of the key slice, and the part of it where anything may lie."""
    rows = table(real_data / "deeplesion" / "DL_info_val.csv")
    found = []
    for path in sorted((real_data / "uls23-labels" / "DeepLesion3D-val").glob("*.zip")):
        row = rows[path.name[:16].rstrip("_").removesuffix("_lesion")]
        voxels, start = released(path)
        # The volume is flipped: its last slice has the lowest number.
        last = int(numbers(row["Slice_range"])[1])
        plane = voxels[:, :, last - int(row["Key_slice_index"]) - start[2]]
        human = on_slice(plane, start, size(row))
        centre = lines_in_ras(row, 0).points.mean(axis=0).astype(int)
        reach = int(numbers(row["Lesion_diameters_Pixel_"])[0]) + 20
        x, y = (slice(max(0, at - reach), at + reach) for at in centre.tolist())
        assert human[x, y].sum() == human.sum()
        found.append((row, human, x, y))
    return found


Shape = Callable[[Lines, tuple[int, int], float], Mask]


def grid(shape: tuple[int, int], centre: Any) -> NDArray[np.float64]:
    return np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) - centre


def superellipse(place: str, exponent: float) -> Shape:
    def made(lines: Lines, shape: tuple[int, int], outward: float) -> Mask:
        a, b, c, d = lines.points
        along = (b - a) / lines.long_vox
        across = np.array([-along[1], along[0]])
        centre = (a + b) / 2 if place != "crossing" else joint(lines)
        if place == "mixed":
            centre = centre + across * np.dot((c + d) / 2 - centre, across)
        offset = grid(shape, centre)
        short = lines.long_vox if place == "circle" else lines.short_vox
        u = np.abs(offset @ along) / (lines.long_vox / 2 + outward)
        v = np.abs(offset @ across) / (short / 2 + outward)
        inside: Mask = u**exponent + v**exponent <= 1 + 1e-9
        return inside

    return made


def quarters(exponent: float) -> Shape:
    def made(lines: Lines, shape: tuple[int, int], outward: float) -> Mask:
        centre = joint(lines)
        offset = grid(shape, centre)
        a, b, c, d = lines.points
        radii = []
        for start, end in ((a, b), (c, d)):
            along = (end - start) / np.hypot(*(end - start))
            place = offset @ along
            before, after = (abs(np.dot(point - centre, along)) for point in (start, end))
            radii.append(np.abs(place) / (np.where(place < 0, before, after) + outward))
        inside: Mask = radii[0] ** exponent + radii[1] ** exponent <= 1 + 1e-9
        return inside

    return made


def spline(lines: Lines, shape: tuple[int, int], outward: float) -> Mask:
    centre = joint(lines)
    around = np.array(sorted(lines.points - centre, key=lambda p: np.arctan2(p[1], p[0])))
    closed = np.concatenate([around, around[:1]]) + centre
    curve = CubicSpline(np.arange(5), closed, bc_type="periodic")(np.linspace(0, 4, 200))
    inside: Mask = polygon2mask(shape, curve)
    return inside


def box(lines: Lines, shape: tuple[int, int], outward: float) -> Mask:
    pixels, points = grid(shape, (0, 0)), lines.points
    return np.asarray(((pixels >= points.min(axis=0)) & (pixels <= points.max(axis=0))).all(-1))


def product(method: Callable[[KeySlice], PseudoMask]) -> Shape:
    def made(lines: Lines, shape: tuple[int, int], outward: float) -> Mask:
        hu = np.zeros(shape, dtype=np.int8)
        return method(KeySlice(hu, lines, (1.0, 1.0), outward_vox=outward)).mask

    return made


# Rows of the table: shape, growth of the half-axes in pixels.
PRIORS: dict[str, tuple[Shape, float]] = {
    "four quarter-ellipses + 0.5 px": (product(quarter_ellipses), 0.5),
    "ellipse, mixed centre + 0.5 px": (product(ellipse), 0.5),
    "quarter-superellipse n = 2.5": (quarters(2.5), 0.0),
    "superellipse n = 2.5": (superellipse("mixed", 2.5), 0.0),
    "four quarter-ellipses": (product(quarter_ellipses), 0.0),
    "closed cubic spline": (spline, 0.0),
    "ellipse, mixed centre": (product(ellipse), 0.0),
    "ellipse, centre of the long axis": (superellipse("long", 2), 0.0),
    "circle on the long axis": (superellipse("circle", 2), 0.0),
    "bounding box": (box, 0.0),
    "ellipse, centre at the crossing": (superellipse("crossing", 2), 0.0),
    "quadrilateral": (product(quadrilateral), 0.0),
}


def test_priors_on_human_masks(human_slices: list[tuple[Row, Mask, slice, slice]]) -> None:
    assert len(human_slices) == 133
    means = {}
    shown(f"{'DeepLesion3D, n = 133':<34}  no shift         with shift (mean / median)")
    for name, (shape, outward) in PRIORS.items():
        found = {
            shift: [
                dice(
                    shape(
                        lines_in_ras(row, shift).moved(-x.start, -y.start),
                        human[x, y].shape,
                        outward,
                    ),
                    human[x, y],
                )
                for row, human, x, y in human_slices
            ]
            for shift in (0.0, 0.5)
        }
        means[name] = np.mean(found[0.5])
        shown(
            f"{name:<34}"
            + "   ".join(f"  {np.mean(d):.3f} / {np.median(d):.3f}" for d in found.values())
        )
    engine = []
    for row, human, _, _ in human_slices:
        mask = published_ellipse(Lines.of(numbers(row["Measurement_coordinates"])), size(row))
        assert mask is not None
        engine.append(dice(mask[::-1, ::-1].T, human))
    shown(f"{'released ellipse':<34}  {np.mean(engine):.3f} / {np.median(engine):.3f}")
    best = means["four quarter-ellipses + 0.5 px"]
    assert best >= max(means.values())
    assert best >= np.mean(engine) + 0.01
    assert best == pytest.approx(0.888, abs=0.01)


# The released engine ----------------------------------------------------------------------------


def golden() -> dict[str, str]:
    rows = (line.split() for line in GOLDEN.read_text().splitlines())
    return {name: digest for name, digest in rows}  # noqa: C416


def whole_rows(row: Row) -> Iterator[tuple[str, Any, Any]]:
    given = KeySlice(
        np.broadcast_to(np.int8(0), size(row)), lines_in_ras(row, 0.5), (1.0, 1.0), None, 0.5
    )
    back = table_lines(given)
    written = np.reshape(numbers(row["Measurement_coordinates"]), (4, 2))
    yield "coordinates", np.trunc(back.points), np.trunc(written)
    box = np.trunc(numbers(row["Bounding_boxes"])).astype(int)
    expected = np.zeros(size(row)[::-1], dtype=bool)
    expected[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
    yield "box", _box(back, size(row)), expected


def test_every_row_of_the_table_comes_back(real_data: Path) -> None:
    with (real_data / "deeplesion" / "DL_info_val.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4889
    for row in rows:
        for what, ours, theirs in whole_rows(row):
            assert np.array_equal(ours, theirs), (row["File_name"], what)


@pytest.mark.slow
def test_ellipses_of_the_released_engine(real_data: Path) -> None:
    rows, names = table(real_data / "deeplesion" / "DL_info_val.csv"), golden()
    assert set(names) <= set(rows) and len(rows) == 4793
    # 4,755 of these key slices have a released label; so many are this ellipse, pixel for pixel.
    assert len(names) / 4755 >= 0.28
    for name, digest in names.items():
        row = rows[name]
        mask = published_ellipse(Lines.of(numbers(row["Measurement_coordinates"])), size(row))
        assert mask is not None
        assert hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()[:12] == digest, name


def test_released_labels_are_this_ellipse_where_the_list_says_so(real_data: Path) -> None:
    labels = real_data / "uls23-labels"
    rows, names, equal = table(labels / "deeplesion_measurements_sample.csv"), golden(), set()
    checked = set()
    for path in sorted((labels / "DeepLesion").glob("*.zip")):
        name = path.name.split("_sample")[0]
        if name not in rows:
            continue
        row = rows[name]
        mask = published_ellipse(Lines.of(numbers(row["Measurement_coordinates"])), size(row))
        voxels, start = released(path)
        checked.add(name)
        if mask is not None:
            ours = mask[::-1, ::-1].T
            window = np.zeros(size(row), dtype=bool)
            low = np.maximum(start[:2], 0)
            window[low[0] : start[0] + 256, low[1] : start[1] + 256] = True
            if np.array_equal(ours & window, on_slice(voxels[:, :, 64], start, size(row))):
                equal.add(name)
    shown(f"{len(equal)} of {len(checked)} released labels of the sample are the ellipse")
    assert checked
    assert equal == checked & set(names)
