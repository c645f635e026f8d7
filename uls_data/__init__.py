"""From raw public CT lesion archives to a training set for universal lesion segmentation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from uls_data.export import export_grand_challenge
    from uls_data.factory import BuildReport, build
    from uls_data.filtering import FilterReport, filter
    from uls_data.loop import LoopReport, selftrain
    from uls_data.manifest.index import index
    from uls_data.manifest.query import query
    from uls_data.manifest.stats import stats
    from uls_data.manifest.table import load_manifest
    from uls_data.network.prediction import PredictReport, predict
    from uls_data.network.training import TrainReport, train
    from uls_data.pictures.contact import contact_sheet
    from uls_data.scoring import Evaluation, evaluate_2d
    from uls_data.scoring.calibration import calibrate
    from uls_data.scoring.volumes import VolumeEvaluation, evaluate

# Loaded when first asked for, so that `import uls_data` costs nothing.
_LAZY = {
    "BuildReport": "uls_data.factory",
    "Evaluation": "uls_data.scoring",
    "FilterReport": "uls_data.filtering",
    "LoopReport": "uls_data.loop",
    "PredictReport": "uls_data.network.prediction",
    "TrainReport": "uls_data.network.training",
    "VolumeEvaluation": "uls_data.scoring.volumes",
    "build": "uls_data.factory",
    "calibrate": "uls_data.scoring.calibration",
    "contact_sheet": "uls_data.pictures.contact",
    "evaluate": "uls_data.scoring.volumes",
    "evaluate_2d": "uls_data.scoring",
    "export_grand_challenge": "uls_data.export",
    "filter": "uls_data.filtering",
    "index": "uls_data.manifest.index",
    "load_manifest": "uls_data.manifest.table",
    "predict": "uls_data.network.prediction",
    "query": "uls_data.manifest.query",
    "selftrain": "uls_data.loop",
    "stats": "uls_data.manifest.stats",
    "train": "uls_data.network.training",
}

__all__ = [
    "BuildReport",
    "Evaluation",
    "FilterReport",
    "LoopReport",
    "PredictReport",
    "TrainReport",
    "VolumeEvaluation",
    "__version__",
    "build",
    "calibrate",
    "contact_sheet",
    "evaluate",
    "evaluate_2d",
    "export_grand_challenge",
    "filter",
    "index",
    "load_manifest",
    "predict",
    "query",
    "selftrain",
    "stats",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'uls_data' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value
