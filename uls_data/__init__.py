"""From raw public CT lesion archives to a training set for universal lesion segmentation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from uls_data._version import __version__

if TYPE_CHECKING:
    from uls_data.auditing import AuditReport, audit
    from uls_data.errata import ErrataReport, apply_errata, check_errata
    from uls_data.export import export_grand_challenge, export_monai, export_nnunet
    from uls_data.factory import BuildReport, build
    from uls_data.filtering import FilterReport, filter
    from uls_data.loop import LoopReport, selftrain
    from uls_data.manifest.index import index
    from uls_data.manifest.parquet import load_manifest
    from uls_data.manifest.query import query
    from uls_data.manifest.stats import stats
    from uls_data.network.prediction import PredictReport, predict
    from uls_data.network.training import TrainReport, train
    from uls_data.pictures.contact import contact_sheet
    from uls_data.provenance import blame, explain
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
    from uls_data.triage import TriageServer, triage_server

# Loaded when first asked for, so that `import uls_data` costs nothing.
_LAZY = {
    "AuditReport": "uls_data.auditing",
    "BuildReport": "uls_data.factory",
    "Difference": "uls_data.release",
    "ErrataReport": "uls_data.errata",
    "Evaluation": "uls_data.scoring",
    "FilterReport": "uls_data.filtering",
    "LoopReport": "uls_data.loop",
    "PredictReport": "uls_data.network.prediction",
    "ReleaseReport": "uls_data.release",
    "Report": "uls_data.reporting",
    "TrainReport": "uls_data.network.training",
    "TriageServer": "uls_data.triage",
    "Verification": "uls_data.release",
    "VolumeEvaluation": "uls_data.scoring.volumes",
    "apply_errata": "uls_data.errata",
    "audit": "uls_data.auditing",
    "blame": "uls_data.provenance",
    "build": "uls_data.factory",
    "calibrate": "uls_data.scoring.calibration",
    "check_errata": "uls_data.errata",
    "contact_sheet": "uls_data.pictures.contact",
    "doctor": "uls_data.reporting.doctor",
    "evaluate": "uls_data.scoring.volumes",
    "evaluate_2d": "uls_data.scoring",
    "explain": "uls_data.provenance",
    "export_grand_challenge": "uls_data.export",
    "export_monai": "uls_data.export",
    "export_nnunet": "uls_data.export",
    "filter": "uls_data.filtering",
    "index": "uls_data.manifest.index",
    "load_manifest": "uls_data.manifest.parquet",
    "predict": "uls_data.network.prediction",
    "query": "uls_data.manifest.query",
    "release_build": "uls_data.release",
    "release_diff": "uls_data.release",
    "release_verify": "uls_data.release",
    "report": "uls_data.reporting",
    "selftrain": "uls_data.loop",
    "stats": "uls_data.manifest.stats",
    "train": "uls_data.network.training",
    "triage_server": "uls_data.triage",
}

__all__ = [
    "AuditReport",
    "BuildReport",
    "Difference",
    "ErrataReport",
    "Evaluation",
    "FilterReport",
    "LoopReport",
    "PredictReport",
    "ReleaseReport",
    "Report",
    "TrainReport",
    "TriageServer",
    "Verification",
    "VolumeEvaluation",
    "__version__",
    "apply_errata",
    "audit",
    "blame",
    "build",
    "calibrate",
    "check_errata",
    "contact_sheet",
    "doctor",
    "evaluate",
    "evaluate_2d",
    "explain",
    "export_grand_challenge",
    "export_monai",
    "export_nnunet",
    "filter",
    "index",
    "load_manifest",
    "predict",
    "query",
    "release_build",
    "release_diff",
    "release_verify",
    "report",
    "selftrain",
    "stats",
    "train",
    "triage_server",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'uls_data' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
