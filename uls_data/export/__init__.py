"""VOIs and masks in the layouts of other programs."""

from uls_data.export.croissant import export_croissant
from uls_data.export.dataset import DatasetExport
from uls_data.export.dicom_seg import DicomSegExport, export_dicom_seg
from uls_data.export.grand_challenge import ChallengeExport, export_grand_challenge
from uls_data.export.monai import export_monai
from uls_data.export.nnunet import export_nnunet
from uls_data.export.store import StoreExport, export_store
from uls_data.export.webdataset import export_webdataset

__all__ = [
    "ChallengeExport",
    "DatasetExport",
    "DicomSegExport",
    "StoreExport",
    "export_croissant",
    "export_dicom_seg",
    "export_grand_challenge",
    "export_monai",
    "export_nnunet",
    "export_store",
    "export_webdataset",
]
