"""What the made-up archives of public collections hold, with the traps of the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from demo.files import write_nifti
from demo.phantom import store
from makers.collections import SHAPE, Rt, Seg, Study, ball, write_collection

_TWO = {"ct": "CT", "thin": "CT"}
_MODEL = "AIMI liver-tumor AI segmentation"


def _seeded(name: str, ball: str, on: str = "ct") -> tuple[Rt, Rt]:
    """A lesion, and the click in it."""
    return (
        Rt(name, {"ROI": ball}, on),
        Rt(f"{name} - SEED POINT", {"ROI": f"point in {ball}"}, on),
    )


def _pet(patient: str, description: str) -> Study:
    both = {"ct": "CT", "pet": "PT"}
    return Study(patient, [Seg(description, {"Lesion": "organ"}, on="pet")], both)


COLLECTIONS: dict[str, Sequence[Study]] = {
    "eay131": [
        Study(
            "EAY131-10017",
            [
                *_seeded("Pre-dose, LIVER - 1", "a"),
                *_seeded("Pre-dose, RIGHT LUNG - 1", "b", on="thin"),
                # A point that no lesion is drawn around.
                Rt("Pre-dose, LESION SEED POINT - NO FINDINGS", {"ROI": "point in c"}),
            ],
            _TWO,
        ),
        Study(
            "EAY131-10017",
            _seeded("Follow-up consultation, LIVER - 1", "a again"),
            name="second",
            day="19591221",
        ),
        # Where there is no structure set, a segmentation holds the lesion.
        Study(
            "EAY131-1234567",
            [
                Seg("Pre-dose, MEDIASTINAL LYMPH NODE - 1", {"Lesion": "c"}),
                _seeded("Pre-dose, MEDIASTINAL LYMPH NODE - 1", "c")[1],
            ],
        ),
    ],
    "cptac_ccrcc": [
        Study(
            "C3L-00610",
            [
                *_seeded("Pre-Dose, RIGHT KIDNEY - 1", "a"),
                # Its click is beside it.
                Rt("Pre-Dose, LEFT ADRENAL - 1", {"ROI": "b"}),
                Rt("Pre-Dose, LEFT ADRENAL - 1 - SEED POINT", {"ROI": "point in c"}),
                Rt("Pre-Dose, No Findings", {"ROI": "point in b"}, on="thin"),
                Seg("AIMI kidney tumor cyst AI segmentation", {"Kidney": "organ", "Mass": "a"}),
            ],
            _TWO,
        ),
        # Drawn on MR, which no CT stands in for.
        Study("C3N-00194", _seeded("Pre-Dose, LEFT KIDNEY - 1", "a", on="mr"), {"mr": "MR"}),
    ],
    "cptac_ucec": [
        Study(
            "C3L-00770",
            [
                *_seeded("Pre-Dose, UTERUS - 1", "a"),
                *_seeded("Pre-Dose, ILIAC CHAIN NODE - 1", "b"),
                *_seeded("Pre-Dose, LIVER - 1", "nothing"),
            ],
        ),
    ],
    "cptac_pda": [
        Study(
            "C3L-00189",
            [
                *_seeded("Pre-Dose, PANCREATIC DUCT - 1", "a"),
                # A frame of reference that is another series'.
                Rt("Pre-Dose, LIVER - 1", {"ROI": "b"}, frame_of="thin"),
            ],
            _TWO,
        ),
        Study(
            "C3L-00189",
            _seeded("Post-Chemotherapy #1, LIVER - 1", "b"),
            name="second",
            day="19600601",
        ),
    ],
    "colorectal_liver_metastases": [
        Study(
            "CRLM-CT-1001",
            [
                Seg(
                    "Segmentation",
                    {
                        "Liver": "organ",
                        "Liver_Remnant": "b",
                        "Hepatic": "c",
                        "Portal": "c",
                        "Tumor_1": "a",
                        "tumor_2": "b",
                        "Tumor_3": "nothing",
                    },
                ),
                Seg(_MODEL, {"Liver": "organ", "Tumor": "a"}),
            ],
        ),
    ],
    "hcc_tace_seg": [
        Study(
            "HCC_001",
            [
                Seg(
                    "Segmentation",
                    {"Liver": "organ", "Mass": "a", "Portal vein": "b", "Abdominal aorta": "c"},
                ),
                Seg(_MODEL, {"Liver": "organ", "Tumor": "c"}),
            ],
            {**_TWO, "phases": "CT twice"},  # of which nothing is drawn
        ),
        Study("HCC_002", [Seg("Segmentation", {"Mass": "a"}, on="ct")], {"ct": "CT twice"}),
        Study("HCC_003", [Seg("Segmentation", {"Mass": "b"}, on="ct later")], {"ct": "CT twice"}),
    ],
    "mediastinal_lymph_node_seg": [
        Study("case_0002", [Seg("Partially Annotated", {"Lymph node": "a"})]),
        Study("case_0003", [Seg("Fully Annotated", {"Lymph node": "a", "Lymph node 2": "b"})]),
    ],
    "nsclc_radiomics": [
        Study(
            "LUNG1-001",
            [
                Rt("", {"Lung-Left": "organ", "GTV-1": "a", "gtv-2": "b", "Spinal-Cord": "c"}),
                Seg("Segmentation", {"Neoplasm, Primary": "a", "Lung": "organ"}),
                Seg("3d_fullres-tta_nnU-Net_Segmentation", {"Lung": "organ"}),
            ],
        ),
        Study("LUNG1-002", [Rt("", {"Lung-Left": "organ", "Tumour": "a"})]),
    ],
    "nsclc_radiogenomics": [
        Study(
            "R01-001",
            [
                Seg("3D Slicer segmentation result", {"anything": "a"}),
                Seg("AIMI lung and nodule AI segmentation", {"Nodule": "b"}),
            ],
            {"ct": "CT", "pet": "PT"},
        ),
        Study("R01-100", [Seg("ePAD Generated DSO Nov-12-2015", {"Lesion": "b"})]),
    ],
    "c4kc_kits": [
        Study(
            "KiTS-00003",
            [Seg("Segmentation", {"Kidney": "organ", "Mass": "a"}, on="thin")],
            _TWO,
        ),
        Study("KiTS-00004", [Seg("Segmentation", {"Kidney": "organ", "Renal tumor": "b"})]),
    ],
    "rcc_aid": [
        Study(
            "TCGA-B0-5097",
            [
                Seg(
                    "RCC-AID kidney/mass/cyst seg, venous, CT series 4",
                    {"Kidney": "organ", "Renal mass": "a", "Renal cyst": "b"},
                ),
                Seg(
                    "RCC-AID kidney/mass/cyst seg, delayed, CT series 6",
                    {"Kidney": "organ", "Renal mass": "a"},
                    on="thin",
                ),
                Seg("AIMI Kidney Segmentation", {"Kidney": "organ", "Tumor": "c"}),
            ],
            _TWO,
            collection="tcga_kirc",
        ),
        Study(
            "TCGA-G9-A9TM",
            [Seg("RCC-AID kidney/mass/cyst seg, arterial, CT series 3", {"Mass": "b"})],
            collection="tcga_kirp",
        ),
    ],
    "adrenal_acc_ki67_seg": [
        Study("Adrenal_Ki67_Seg_001", [Seg("Segmentation", {"adrenal": "a"})], _TWO),
    ],
    "spinal_multiple_myeloma_seg": [
        Study(
            "Myel_001",
            [
                Seg("Segmentation", {"T12": "organ", "L1": "b"}),
                Seg("Segmentation", {"MM lesion": "a"}),
            ],
            {"ct": "CT", "vmi40": "CT"},
        ),
    ],
    "rider_lungct_seg": [
        Study(
            "RIDER-1129164940",
            [
                Rt("TEST", {"GTVp_TEST_auto": "a again", "GTVp_TEST_man": "a"}),
                Rt("RETEST", {"GTVp_retest_man": "a", "GTVp_RETEST_auto": "a"}, on="thin"),
                Seg("RIDER-1129_1_TEST", {"Neoplasm": "a"}),
                Seg("QIN CT challenge: alg01 run1segmentation result", {"Nodule": "a"}),
                Seg("Tumor Segmentation", {"Tumor": "b"}),
            ],
            _TWO,
            collection="rider_lung_ct",
        ),
    ],
    "lidc_idc": [
        Study(
            "LIDC-IDRI-0314",
            [
                Seg("Segmentation of Nodule 1 - Annotation 12", {"Nodule 1": "a"}),
                Seg("Segmentation of Nodule 1 - Annotation IL057_127364", {"Nodule 1": "a again"}),
                Seg("Segmentation of Nodule 2 - Annotation MI014_1", {"Nodule 2": "b"}),
                Seg("Segmentation of Nodule 3 - Annotation 2", {"Nodule 3": "above"}),
                Seg("QIN CT challenge: alg02 run1segmentation result", {"Nodule": "c"}),
            ],
            collection="lidc_idri",
        ),
        Study(
            "LIDC-IDRI-0020",
            [Seg("Segmentation of Nodule 1 - Annotation Nodule 001", {"Nodule 1": "c"})],
            collection="lidc_idri",
        ),
    ],
    "nlst_annotated": [
        Study(
            "100012",
            [
                Seg("NLSTSeg Segmentation of Series: 2", {"Lesion": "a"}),
                Seg("TotalSegmentator(v1.5.6) Segmentation of Series 2", {"Lung": "organ"}),
            ],
            _TWO,
            collection="nlst",
        ),
        Study(
            "200345",
            [
                Seg("SEG,0,OPA,GE,LSQX,STANDARD,360,2.5,120,40,0.1,1.5", {"1": "a", "2": "b"}),
                Seg("SEG,0,OPA,GE,LSQX,STANDARD,360,2.5,120,40,0.1,1.5", {"1": "a again"}),
            ],
            collection="nlst",
        ),
    ],
    "fdg_pet_ct_lesions": [_pet("PETCT_0011f3deaf", "Segmentation")],
    "psma_pet_ct_lesions": [
        _pet("PSMA_0179419e313f7d8c", "Segmentation - Tumor lesions detected"),
        # One that is on the CT's own voxels.
        Study("PSMA_01a2b3c4d5e6f708", [Seg("Segmentation - Tumor lesions detected", {"1": "a"})]),
    ],
}
"""Studies of each source, by the name of its recipe."""


def make(source: str, root: Path) -> None:
    """Write the archive of a source below a raw root."""
    if source in VOLUMES:
        VOLUMES[source](root)
    else:
        write_collection(root, source, COLLECTIONS[source])


# Sets that are not DICOM: masks of balls, a value each, by file.
_KITS = {"a": 2, "b": 2, "c": 3}
_MSWAL = {"a": 3, "b": 5, "c": 6, "small": 1}


def _make_kits23(root: Path) -> None:
    """`dataset/case_*`: arrays are (slice, row, column), a file for each instance and reader."""
    for case, values in (("case_00003", _KITS), ("case_00400", {"organ": 1, "a": 2})):
        folder = root / "dataset" / case
        _volume(folder / "imaging.nii.gz", {"organ": 60, "a": 100}, "IPL", background=-1000)
        _volume(folder / "segmentation.nii.gz", values, "IPL")
        for number in (1, 2, 3):
            name = f"tumor_instance-1_annotation-{number}.nii.gz"
            _volume(folder / "instances" / name, {"a": 1}, "IPL", dtype=np.float64)


def _make_mswal(root: Path) -> None:
    """Folders of nnU-Net, with all seven values."""
    _volume(root / "imagesTr" / "MSWAL_0001_0000.nii.gz", {"a": 100}, "LPS", background=-1000)
    _volume(root / "labelsTr" / "MSWAL_0001.nii.gz", _MSWAL, "LPS")
    _volume(root / "imagesTr" / "MSWAL_0002_0000.nii.gz", {"a": 100}, "LPS", background=-1000)
    _volume(root / "labelsTr" / "MSWAL_0002.nii.gz", {"b": 7}, "LPS")


def _make_flare_pancancer(root: Path) -> None:
    """Folders of nnU-Net, one a kind of cancer; parts that have recipes of their own beside."""
    for folder, case in (
        ("train_per_cancer_type/Dataset001_HeadNeckCancer", "HeadNeck_SegRap25_0003-cect"),
        ("train_per_cancer_type/Dataset001_HeadNeckCancer", "HeadNeck_SegRap25_0003-ncct"),
        ("train_per_cancer_type/Dataset002_EsophagusCancer", "Esophagus_AbdomenAtlas_00014490"),
        ("train_per_cancer_type/Dataset003_LungCancer", "Chest_LUNA25_100012"),
        ("train_per_cancer_type/Dataset007_KidneyCancer", "Kidney_KiTS23_00003"),
        ("new_cancer_datasets_after202606/20260820_ScienceDBLungTumorCT", "ASLS26_12_1"),
    ):
        to = root / folder
        image = to / "imagesTr" / f"{case}_0000.nii.gz"
        _volume(image, {"organ": 60, "a": 100}, "LPS", background=-1000)
        _volume(to / "labelsTr" / f"{case}.nii.gz", {"a": 1, "small": 1}, "LPS")


def _volume(
    path: Path, values: Mapping[str, int], codes: str, background: int = 0, dtype: Any = np.int16
) -> None:
    data = np.full(SHAPE, background, dtype=dtype)
    for name, value in values.items():
        data[ball(name)] = value
    stored, affine = store(data, np.diag([1.0, 1.0, 2.0, 1.0]), codes)
    write_nifti(path, stored, affine)


VOLUMES = {
    "flare_pancancer": _make_flare_pancancer,
    "kits23": _make_kits23,
    "mswal": _make_mswal,
}
"""Makers of archives of volumes, by the name of the recipe."""
