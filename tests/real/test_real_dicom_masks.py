"""Real DICOM annotations against the masks that others made of them, voxel for voxel."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.dicom.objects import Region
from uls_data.dicom.placement import place_segment
from uls_data.dicom.rtstruct import rasterise, read_rtstruct
from uls_data.dicom.seg import Code, read_seg
from uls_data.dicom.series import read_series
from uls_data.errors import CaseError
from uls_data.outcome import Reason

pytestmark = pytest.mark.real


def series(folder: Path) -> tuple[Any, NDArray[np.float64], list[str]]:
    """Shape, affine to RAS, and SOP instance UIDs of a DICOM series as ITK stacks it."""
    if not folder.is_dir():
        pytest.skip(f"no {folder.name} in the real data")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.MetaDataDictionaryArrayUpdateOn()
    image = reader.Execute()
    uids = [reader.GetMetaData(at, "0008|0018").strip("\0 ") for at in range(image.GetSize()[2])]
    return image.GetSize(), affine_of(image), uids


def affine_of(image: Any) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


def mask_of(region: Region, shape: Any) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(region.voxels.T)] = True
    return mask


def nearest(outline: NDArray[Any]) -> float:
    """Smallest distance of a voxel centre from a closed outline, shape (n, 2)."""
    step = np.roll(outline, -1, axis=0) - outline
    step, outline = step[step.any(axis=1)], outline[step.any(axis=1)]
    reach = int(np.abs(step).max() / 2) + 2  # centres that can be nearest to an edge
    around = np.stack(np.mgrid[-reach : reach + 1, -reach : reach + 1], axis=-1).reshape(-1, 1, 2)
    centres = np.rint(outline + step / 2) + around
    share = ((centres - outline) * step).sum(axis=-1) / (step**2).sum(axis=-1)
    away = centres - outline - np.clip(share, 0, 1)[..., None] * step
    return float(np.hypot(away[..., 0], away[..., 1]).min())


def test_ibsi_contours_give_the_ibsi_mask(real_data: Path) -> None:
    folder = real_data / "ibsi-ct-phantom"
    shape, affine, uids = series(folder / "dicom" / "image")
    found = read_rtstruct(next((folder / "dicom" / "mask").glob("*.dcm")))
    (roi,) = found.matching(re.compile("GTV-.*"))
    assert (roi.number, len(roi.contours)) == (1, 26)
    truth = nibabel.load(folder / "nifti" / "mask" / "mask.nii.gz")
    expected = np.asarray(truth.dataobj) > 0
    assert geometry.affine_difference_mm(truth.affine, affine, shape) < 1e-3
    filled = rasterise(roi.contours, shape, affine, uids)
    assert np.array_equal(mask_of(filled.region, shape), expected)
    assert np.count_nonzero(filled.region.mask) == 125_256
    kept = {key: value for key, value in vars(filled).items() if key != "region" and value}
    assert kept == {"drawn": 26}
    # On the grid turned to RAS too: no voxel centre lies on a contour here.
    orientation = geometry.orientation_to_ras(affine)
    turned = orientation.apply(expected)
    filled = rasterise(roi.contours, turned.shape, orientation.apply_affine(affine, shape))
    assert np.array_equal(mask_of(filled.region, turned.shape), turned)


def test_how_little_decides_in_the_ibsi_contours(real_data: Path) -> None:
    folder = real_data / "ibsi-ct-phantom"
    shape, affine, _ = series(folder / "dicom" / "image")
    (roi,) = read_rtstruct(next((folder / "dicom" / "mask").glob("*.dcm"))).rois
    truth = nibabel.load(folder / "nifti" / "mask" / "mask.nii.gz")
    expected = np.asarray(truth.dataobj) > 0
    off_slice = 0.0
    near = np.inf
    for one in roi.contours:
        points = geometry.to_vox(affine, one.points_mm * (-1, -1, 1))
        off_slice = max(off_slice, float(np.abs(points[:, 2] - np.rint(points[:, 2])).max()))
        near = min(near, nearest(points[:, :2]))
    assert off_slice < 1e-6  # slices: 0.1 is allowed
    assert 3e-6 < near < 4e-6  # the voxel centre that is nearest to a contour, in voxels
    # A grid taken half a voxel off (corners for centres) is told from the right one.
    shifted = rasterise(roi.contours, shape, affine @ _moved(0.5))
    assert np.count_nonzero(mask_of(shifted.region, shape) != expected) > 3000


def _moved(voxels: float) -> NDArray[np.float64]:
    move = np.eye(4)
    move[:2, 3] = voxels
    return move


def test_liver_segmentation_is_the_liver_nrrd(real_data: Path) -> None:
    folder = real_data / "dcmqi-liver"
    shape, affine, uids = series(folder / "ct-3slice")
    seg = read_seg(folder / "liver.dcm")
    (segment,) = seg.segments
    assert segment.property_type == Code("T-62000", "SRT")
    assert segment.category == Code("T-D0050", "SRT")
    assert (segment.number, segment.algorithm) == (1, "SEMIAUTOMATIC")
    assert [one.number for one in seg.matching(re.compile("Liver"))] == [1]
    assert seg.slice_step_mm == pytest.approx(1.0, abs=1e-9)
    truth = sitk.ReadImage(str(folder / "liver_seg.nrrd"))
    expected = sitk.GetArrayFromImage(truth).T > 0
    assert geometry.affine_difference_mm(affine_of(truth), affine, shape) < 1e-3
    region = place_segment(seg, 1, shape, affine, uids)
    assert np.array_equal(mask_of(region, shape), expected)
    assert np.count_nonzero(region.mask) == 107_098
    # By the slice thickness of the CT (1.25 mm) the frames would lie between its slices.
    thick = affine.copy()
    thick[:3, 2] *= 1.25
    with pytest.raises(CaseError, match=r"0\.2 voxels off") as caught:
        place_segment(seg, 1, shape, thick)
    assert caught.value.reason is Reason.GRID_MISMATCH


def test_both_on_the_grids_of_the_series_reader(real_data: Path) -> None:
    root = real_data / "ibsi-ct-phantom"
    scan = read_series(_below(root, "dicom/image"), root)
    (roi,) = read_rtstruct(next((root / "dicom" / "mask").glob("*.dcm"))).rois
    grid = (scan.volume.stored.shape, scan.volume.stored_affine, scan.sop_instance_uids)
    filled = rasterise(roi.contours, *grid)
    truth = nibabel.load(root / "nifti" / "mask" / "mask.nii.gz")
    assert np.array_equal(mask_of(filled.region, grid[0]), np.asarray(truth.dataobj) > 0)
    root = real_data / "dcmqi-liver"
    scan = read_series(_below(root, "ct-3slice"), root)
    grid = (scan.volume.stored.shape, scan.volume.stored_affine, scan.sop_instance_uids)
    region = place_segment(read_seg(root / "liver.dcm"), 1, *grid)
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(root / "liver_seg.nrrd"))).T
    assert np.array_equal(mask_of(region, grid[0]), truth > 0)


def _below(root: Path, folder: str) -> list[Path]:
    return [path.relative_to(root) for path in sorted((root / folder).glob("*.dcm"))]


def test_neither_object_is_taken_for_the_other_or_for_a_scan(real_data: Path) -> None:
    contours = next((real_data / "ibsi-ct-phantom" / "dicom" / "mask").glob("*.dcm"))
    frames = real_data / "dcmqi-liver" / "liver.dcm"
    scan = real_data / "dcmqi-liver" / "ct-3slice" / "01.dcm"
    for path, name in ((frames, "Segmentation Storage"), (scan, "CT Image Storage")):
        with pytest.raises(CaseError, match=f"expected RT Structure Set Storage, found {name}"):
            read_rtstruct(path)
    for path, name in ((contours, "RT Structure Set Storage"), (scan, "CT Image Storage")):
        with pytest.raises(CaseError, match=f"expected Segmentation Storage or .*, found {name}"):
            read_seg(path)


SEGMENTATIONS = (
    "samples/seg/dcmqi/partial_overlaps.dcm",
    "samples/seg/highdicom/seg_image_ct_binary.dcm",
    "samples/seg/highdicom/seg_image_ct_binary_fractional.dcm",
    "samples/seg/highdicom/seg_image_ct_binary_overlap.dcm",
    "samples/seg/qin-headneck/tumor_User1_Manual_Trial1.dcm",
    "dcmqi-liver/liver.dcm",
)


def planes(masks: Iterable[NDArray[np.bool_]]) -> list[bytes]:
    """Pixels of the planes that hold any, in no order: theirs are sorted, ours are as stored."""
    return sorted(plane.tobytes() for plane in masks if plane.any())


@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_segments_as_highdicom_reads_them(name: str, real_data: Path) -> None:
    """Every pixel of every segment; `pytest -s` prints how long both took."""
    highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")
    path = real_data / name
    if not path.is_file():
        pytest.skip(f"no {name} in the real data")
    begun = time.perf_counter()
    theirs = highdicom.seg.segread(path)
    expected = {
        number: planes(theirs.get_volume(segment_numbers=[number]).array[..., 0] != 0)
        for number in theirs.segment_numbers
    }
    middle = time.perf_counter()
    ours = read_seg(path, re.compile(".*"))
    found = {
        one.number: planes(
            ours.pixels(frame.index, one.number) for frame in ours.frames_of(one.number)
        )
        for one in ours.segments
    }
    print(f"{name}: {middle - begun:.3f} s, ours {time.perf_counter() - middle:.3f} s")  # noqa: T201
    assert found == expected
