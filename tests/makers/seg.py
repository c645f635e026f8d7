"""DICOM Segmentations of made-up masks, and what is read of them."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, SegmentationStorage

from demo.phantom import store
from uls_data import geometry
from uls_data.dicom.placement import place_segment
from uls_data.dicom.seg import Segmentation, read_seg
from uls_data.errors import CaseError

MARK = "Muster^Geheim"
TEXTS = (
    *("AccessionNumber", "Manufacturer", "InstitutionName", "InstitutionAddress"),
    *("ReferringPhysicianName", "StationName", "StudyDescription", "SeriesDescription"),
    *("OperatorsName", "PatientName", "PatientID", "PatientComments", "StudyID"),
    *("ContentDescription", "ContentCreatorName", "DeviceSerialNumber"),
)
SERIES = "1.2.826.0.1.3680043.8.498.7"
RAS = np.array(
    [[0.7, 0, 0, 31.3], [0, 0.6, 0, -12.9], [0, 0, 2.5, -804.25], [0, 0, 0, 1]], dtype=np.float64
)
SHAPE = (7, 5, 4)  # 35 pixels a frame: no frame but the first starts at a byte


def masks_of(seed: int, number: int = 2, shape: tuple[int, ...] = SHAPE) -> dict[int, Any]:
    """Masks of segments that overlap and leave slices empty, by number."""
    rng = np.random.default_rng(seed)
    found = {}
    for segment in range(1, number + 1):
        mask = rng.random(shape) < 0.4
        mask[..., rng.random(shape[2]) < 0.3] = False
        mask[0, 0, -1] = True
        found[segment] = mask
    return found


def uid_of(at: int) -> str:
    return f"{SERIES}.{at + 1}"


def item(**values: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def segmentation(
    masks: dict[int, Any],
    affine: NDArray[np.float64],
    shared: bool = True,
    empty: bool = False,
    fraction: int | None = None,
    shuffle: int | None = None,
) -> Dataset:
    """A Segmentation of masks whose axes are (column, row, slice) on the grid of an affine."""
    lps = geometry.LPS_TO_RAS @ affine
    columns, rows, slices = next(iter(masks.values())).shape
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    cosines = lps[:3, :3] / steps
    orientation = item(ImageOrientationPatient=[f"{v:.10g}" for v in cosines[:, :2].T.ravel()])
    # Thickness and spacing are wrong on purpose: positions tell where slices lie.
    measures = item(
        PixelSpacing=[f"{steps[1]:.10g}", f"{steps[0]:.10g}"],
        SliceThickness="9.75",
        SpacingBetweenSlices="8.5",
    )
    planes = {"PlaneOrientationSequence": [orientation], "PixelMeasuresSequence": [measures]}
    frames, pixels = [], []
    for segment, mask in masks.items():
        for at in range(slices):
            if not empty and not mask[..., at].any():
                continue
            position = (lps @ [0, 0, at, 1])[:3]
            source = item(ReferencedSOPClassUID=CTImageStorage, ReferencedSOPInstanceUID=uid_of(at))
            frame = item(
                PlanePositionSequence=[item(ImagePositionPatient=[f"{v:.10g}" for v in position])],
                SegmentIdentificationSequence=[item(ReferencedSegmentNumber=segment)],
                DerivationImageSequence=[item(SourceImageSequence=[source])],
                FrameContentSequence=[item(FrameLabel=MARK, FrameComments=MARK)],
                **({} if shared else planes),
            )
            frames.append(frame)
            pixels.append(mask[..., at].T)
    if shuffle is not None:
        order = np.random.default_rng(shuffle).permutation(len(frames))
        frames, pixels = [frames[n] for n in order], [pixels[n] for n in order]
    flat = np.concatenate([frame.ravel() for frame in pixels])
    ds = item(
        SOPClassUID=SegmentationStorage,
        SOPInstanceUID=f"{SERIES}.900",
        **dict.fromkeys(TEXTS, MARK),
        Modality="SEG",
        FrameOfReferenceUID=f"{SERIES}.800",
        ReferencedSeriesSequence=[item(SeriesInstanceUID=SERIES)],
        Rows=rows,
        Columns=columns,
        NumberOfFrames=len(frames),
        SamplesPerPixel=1,
        PhotometricInterpretation="MONOCHROME2",
        PixelRepresentation=0,
        SharedFunctionalGroupsSequence=[item(**(planes if shared else {}))],
        PerFrameFunctionalGroupsSequence=frames,
        SegmentSequence=[
            item(
                SegmentNumber=segment,
                SegmentLabel=f"Lesion {segment}",
                SegmentDescription=MARK,
                SegmentAlgorithmType="MANUAL",
                SegmentAlgorithmName=MARK,
                SegmentedPropertyCategoryCodeSequence=[
                    item(CodeValue="49755003", CodingSchemeDesignator="SCT", CodeMeaning=MARK)
                ],
                SegmentedPropertyTypeCodeSequence=[
                    item(CodeValue="M-03010", CodingSchemeDesignator="SRT", CodeMeaning=MARK)
                ],
            )
            for segment in masks
        ],
    )
    bits = 1 if fraction is None else 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    if fraction is None:
        ds.SegmentationType = "BINARY"
        data = np.packbits(flat, bitorder="little").tobytes()
    else:
        ds.SegmentationType, ds.SegmentationFractionalType = "FRACTIONAL", "OCCUPANCY"
        ds.MaximumFractionalValue = fraction
        data = (flat.astype(np.uint8) * fraction).tobytes()
    ds.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    return ds


def encoded(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def read(folder: Path, data: bytes) -> Segmentation:
    path = folder / "SEG.dcm"
    path.write_bytes(data)
    return read_seg(path)


def refusal(folder: Path, data: bytes) -> CaseError:
    with pytest.raises(CaseError) as caught:
        read(folder, data)
    assert "SEG.dcm" in caught.value.detail
    assert str(folder) not in caught.value.detail
    assert MARK[:6] not in caught.value.detail
    return caught.value


def placed(
    seg: Segmentation, number: int, shape: Any, affine: NDArray[np.float64], **options: Any
) -> NDArray[np.bool_]:
    region = place_segment(seg, number, shape, affine, **options)
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(region.voxels.T)] = True
    assert np.array_equal(region.voxels, np.argwhere(mask))  # C order
    box, start = geometry.bounding_box(mask)
    assert region.mask.shape == box.shape and region.start == start
    return mask


def grid() -> tuple[Any, NDArray[np.float64]]:
    """A mask as it is stored, and its affine."""
    return store(masks_of(2)[1], RAS, "LPS")
