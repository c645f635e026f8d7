"""From raw CT lesion archives to training sets for universal lesion segmentation.

Functions, in the order of the work; most commands of `uls-data` are a thin skin over one of them:

    fetch                                 raw archives that a recipe pins, downloaded
    build, index                          raw archives, or existing VOIs, to a manifest
    load_manifest, query, stats, split    manifests as tables; parts of a set by patient
    open_voi, VoiDataset                  voxels for your own training
    train, predict, filter, selftrain     networks and pseudo-masks
    certify                               a risk of pseudo-masks that can be stated
    evaluate, evaluate_2d, calibrate      scores
    report, contact_sheet, triage_server  pictures, and judging masks
    view_folder                           VOIs of a folder that nobody has built, to look at
    drawing_server                        readers who draw lines
    check_errata, apply_errata            corrections
    write_edit, take_edit                 masks edited in another program
    compare_errata, merge_errata          several curators
    audit, explain, blame                 leaks and provenance
    passport, passport_from, audit_against
                                          what trained a model, and which rows it has seen
    release_build, release_verify, release_diff
    export_nnunet, export_monai, export_grand_challenge, export_dicom_seg, export_webdataset,
    export_croissant, export_store
    mine                                  measured lesions out of radiology reports
    doctor                                what this machine can do

Other names in capitals (`BuildReport`, ...) are what these functions return, but `RawScans`: scans
on which `evaluate_2d` and `calibrate` measure lesions that a VOI cuts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from uls_data._version import __version__

if TYPE_CHECKING:
    from uls_data.auditing import AuditReport, audit
    from uls_data.auditing.against import audit_against, passport
    from uls_data.certificates import CertifyReport, certify
    from uls_data.errata import (
        Comparison,
        EditFolder,
        ErrataReport,
        MergeReport,
        TakenEdit,
        apply_errata,
        check_errata,
        compare_errata,
        merge_errata,
        take_edit,
        write_edit,
    )
    from uls_data.errors import UlsDataError
    from uls_data.export import (
        export_croissant,
        export_dicom_seg,
        export_grand_challenge,
        export_monai,
        export_nnunet,
        export_store,
        export_webdataset,
    )
    from uls_data.factory import BuildReport, build
    from uls_data.factory.folder_view import FolderView, view_folder
    from uls_data.fetching import FetchReport, fetch
    from uls_data.filtering import FilterReport, filter
    from uls_data.loop import LoopReport, selftrain
    from uls_data.manifest.index import index
    from uls_data.manifest.opened import Voi, open_voi
    from uls_data.manifest.parquet import load_manifest
    from uls_data.manifest.query import query
    from uls_data.manifest.set_parts import Parted, split
    from uls_data.manifest.stats import stats
    from uls_data.mining import MineReport, mine
    from uls_data.network.prediction import predict
    from uls_data.network.prediction_report import PredictReport
    from uls_data.network.training import train
    from uls_data.network.training_report import TrainReport
    from uls_data.network.voi_dataset import VoiDataset
    from uls_data.passports import Passport, Seen, passport_from
    from uls_data.pictures.contact import contact_sheet
    from uls_data.provenance import blame, explain
    from uls_data.provenance.raw_scans import RawScans
    from uls_data.release import (
        Difference,
        ReleaseReport,
        Verification,
        release_build,
        release_diff,
        release_verify,
    )
    from uls_data.reporting import Report, report
    from uls_data.reporting.doctor import doctor
    from uls_data.scoring import Evaluation, evaluate_2d
    from uls_data.scoring.calibration import calibrate
    from uls_data.scoring.volumes import VolumeEvaluation, evaluate
    from uls_data.triage import DrawingServer, TriageServer, drawing_server, triage_server

# Loaded when first asked for, so that `import uls_data` costs nothing.
_LAZY = {
    "fetch": "uls_data.fetching",
    "build": "uls_data.factory",
    "index": "uls_data.manifest.index",
    "load_manifest": "uls_data.manifest.parquet",
    "query": "uls_data.manifest.query",
    "split": "uls_data.manifest.set_parts",
    "stats": "uls_data.manifest.stats",
    "open_voi": "uls_data.manifest.opened",
    "train": "uls_data.network.training",
    "predict": "uls_data.network.prediction",
    "filter": "uls_data.filtering",
    "certify": "uls_data.certificates",
    "selftrain": "uls_data.loop",
    "evaluate": "uls_data.scoring.volumes",
    "evaluate_2d": "uls_data.scoring",
    "calibrate": "uls_data.scoring.calibration",
    "report": "uls_data.reporting",
    "contact_sheet": "uls_data.pictures.contact",
    "triage_server": "uls_data.triage",
    "view_folder": "uls_data.factory.folder_view",
    "drawing_server": "uls_data.triage",
    "check_errata": "uls_data.errata",
    "apply_errata": "uls_data.errata",
    "write_edit": "uls_data.errata",
    "take_edit": "uls_data.errata",
    "compare_errata": "uls_data.errata",
    "merge_errata": "uls_data.errata",
    "audit": "uls_data.auditing",
    "audit_against": "uls_data.auditing.against",
    "passport": "uls_data.auditing.against",
    "passport_from": "uls_data.passports",
    "explain": "uls_data.provenance",
    "blame": "uls_data.provenance",
    "release_build": "uls_data.release",
    "release_verify": "uls_data.release",
    "release_diff": "uls_data.release",
    "export_nnunet": "uls_data.export",
    "export_dicom_seg": "uls_data.export",
    "export_store": "uls_data.export",
    "export_webdataset": "uls_data.export",
    "export_croissant": "uls_data.export",
    "export_monai": "uls_data.export",
    "export_grand_challenge": "uls_data.export",
    "mine": "uls_data.mining",
    "doctor": "uls_data.reporting.doctor",
    "AuditReport": "uls_data.auditing",
    "BuildReport": "uls_data.factory",
    "CertifyReport": "uls_data.certificates",
    "Comparison": "uls_data.errata",
    "Difference": "uls_data.release",
    "EditFolder": "uls_data.errata",
    "ErrataReport": "uls_data.errata",
    "Evaluation": "uls_data.scoring",
    "FetchReport": "uls_data.fetching",
    "FilterReport": "uls_data.filtering",
    "FolderView": "uls_data.factory.folder_view",
    "LoopReport": "uls_data.loop",
    "MergeReport": "uls_data.errata",
    "MineReport": "uls_data.mining",
    "Parted": "uls_data.manifest.set_parts",
    "Passport": "uls_data.passports",
    "PredictReport": "uls_data.network.prediction_report",
    "ReleaseReport": "uls_data.release",
    "RawScans": "uls_data.provenance.raw_scans",
    "Report": "uls_data.reporting",
    "Seen": "uls_data.passports",
    "TakenEdit": "uls_data.errata",
    "TrainReport": "uls_data.network.training_report",
    "TriageServer": "uls_data.triage",
    "DrawingServer": "uls_data.triage",
    "UlsDataError": "uls_data.errors",
    "Verification": "uls_data.release",
    "Voi": "uls_data.manifest.opened",
    "VoiDataset": "uls_data.network.voi_dataset",
    "VolumeEvaluation": "uls_data.scoring.volumes",
}

__all__ = [  # noqa: RUF022 - functions in the order of the work, then what they return
    "fetch",
    "build",
    "index",
    "load_manifest",
    "query",
    "split",
    "stats",
    "open_voi",
    "train",
    "predict",
    "filter",
    "certify",
    "selftrain",
    "evaluate",
    "evaluate_2d",
    "calibrate",
    "report",
    "contact_sheet",
    "triage_server",
    "view_folder",
    "drawing_server",
    "check_errata",
    "apply_errata",
    "write_edit",
    "take_edit",
    "compare_errata",
    "merge_errata",
    "audit",
    "audit_against",
    "passport",
    "passport_from",
    "explain",
    "blame",
    "release_build",
    "release_verify",
    "release_diff",
    "export_nnunet",
    "export_monai",
    "export_grand_challenge",
    "export_dicom_seg",
    "export_store",
    "export_webdataset",
    "export_croissant",
    "mine",
    "doctor",
    "AuditReport",
    "BuildReport",
    "CertifyReport",
    "Comparison",
    "Difference",
    "EditFolder",
    "ErrataReport",
    "Evaluation",
    "FetchReport",
    "FilterReport",
    "FolderView",
    "LoopReport",
    "MergeReport",
    "MineReport",
    "Parted",
    "Passport",
    "PredictReport",
    "RawScans",
    "ReleaseReport",
    "Report",
    "Seen",
    "TakenEdit",
    "TrainReport",
    "TriageServer",
    "DrawingServer",
    "UlsDataError",
    "Verification",
    "Voi",
    "VoiDataset",
    "VolumeEvaluation",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'uls_data' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
