"""nnU-Net v2's datasets, with folds by patient: the raw one here, and the preprocessed one.

DatasetNNN_NAME/imagesTr/<voi_id>_0000.nii.gz, labelsTr/<voi_id>.nii.gz
DatasetNNN_NAME/imagesTs/..., labelsTs/...      held-out patients
DatasetNNN_NAME/dataset.json, splits_final.json
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from uls_data.errors import CaseError, SourceError
from uls_data.export.common import failure, refuse_others
from uls_data.export.dataset import FOLDS, Dataset, DatasetExport, choose
from uls_data.export.nnunet_files import (
    ENDING,
    WEAK,
    dataset_json,
    put_image,
    put_label,
    splits_json,
    write_json,
)
from uls_data.export.nnunet_preprocessed import export_preprocessed
from uls_data.io import writing_to
from uls_data.manifest.example import Example
from uls_data.network.plan import Plan, as_plan

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_ONLY_RAW = "of held-out patients, whom nnU-Net has no use for in this form"


def export_nnunet(
    manifest: str | Path | Sequence[str | Path],
    to: str | Path,
    *,
    number: int = 100,
    name: str = "ULS",
    layers: Collection[str] = (),
    certified: bool = False,
    weak: str = "leave-out",
    folds: int = FOLDS,
    link: bool = False,
    preprocessed: bool = False,
    plan: str | Path | Plan = "baseline",
    workers: int = 0,
    started: Callable[[int], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> DatasetExport:
    """Write VOIs as a dataset of nnU-Net v2.

    The same call again continues an interrupted one. Same VOIs, same bytes, whatever the number of
    workers; those of the preprocessed form with the same version of blosc2.

    Parameters
    ----------
    manifest : path or sequence of paths
        Of builds with images.
    to : path
        What nnU-Net calls `nnUNet_raw`, or `nnUNet_preprocessed`; the dataset is a folder in it.
    number, name
        Of the dataset: `Dataset100_ULS`.
    layers : collection of str
        Of the masks; default: the best of each VOI, as for training.
    certified : bool
        Of pseudo-masks take only those that a certificate keeps (`certify --manifest-out`).
    weak : str
        Masks of one slice: `leave-out`; `ignore`: all other slices get the label that nnU-Net's
        loss leaves out; `background`: they are written as they are.
    folds : int
        Of `splits_final.json`; a patient's VOIs share one.
    link : bool
        Hard links to the build's files instead of copies.
    preprocessed : bool
        Write what nnU-Net's preprocessing would make of the raw form, so that `nnUNetv2_train`
        can start. VOIs keep their spacing; those of held-out patients are left out.
    plan : str, path or Plan
        Network and normalisation of the preprocessed form, as in `train`.
    workers : int
        Processes that write the preprocessed form; 0: this one.
    started, progress : callable, optional
        Called with the number of VOIs, and after each; for the preprocessed form twice, as each is
        read before the first is written.

    Raises
    ------
    ManifestError, ModelError, SourceError
        Nothing to train on, a fold without a patient, no such plan or one that nnU-Net cannot
        follow, other files in the dataset's folder, or it cannot be written.
    """
    if not _NAME.fullmatch(name) or not 1 <= number <= 999:
        raise SourceError(f"--id {number} --name {name}: expected 1 to 999 and a word")
    if weak not in WEAK:
        raise SourceError(f"--weak {weak}: expected {', '.join(WEAK)}")
    dataset = choose(
        manifest, layers=layers, certified=certified, weak=weak != "leave-out", folds=folds
    )
    folder = Path(to) / f"Dataset{number:03d}_{name}"
    with writing_to(to):
        if not preprocessed:
            return _export_raw(dataset, folder, name, weak, link, started, progress)
        written, failed = export_preprocessed(
            dataset,
            folder,
            as_plan(plan),
            weak=weak,
            link=link,
            workers=workers,
            started=started,
            progress=progress,
        )
    if dataset.heldout:
        dataset.left_out[_ONLY_RAW] += len(dataset.heldout)
    return DatasetExport(folder, len(written), 0, failed, dataset.left_out)


def _export_raw(
    dataset: Dataset,
    folder: Path,
    name: str,
    weak: str,
    link: bool,
    started: Callable[[int], None] | None,
    progress: Callable[[int], None] | None,
) -> DatasetExport:
    parts = {"Tr": dataset.train, "Ts": dataset.heldout}
    if started is not None:
        started(sum(map(len, parts.values())))
    failed: list[dict[str, Any]] = []
    written: dict[str, list[Example]] = {}
    _refuse_others(folder, parts)
    for part, examples in parts.items():
        written[part] = []
        for example in examples:
            try:
                _write(example, folder, part, weak, link)
                written[part].append(example)
            except CaseError as error:
                failed.append(failure(example, error))
            if progress is not None:
                progress(1)
    write_json(folder / "splits_final.json", splits_json(dataset, written["Tr"]))
    write_json(folder / "dataset.json", dataset_json(name, weak, len(written["Tr"])))
    counts = (len(written["Tr"]), len(written["Ts"]))
    return DatasetExport(folder, *counts, failed, dataset.left_out)


def _refuse_others(folder: Path, parts: dict[str, list[Example]]) -> None:
    """Refuse VOIs of another export, which nnU-Net would take for part of this one."""
    for part, examples in parts.items():
        for kind, ending in (("images", f"_0000{ENDING}"), ("labels", ENDING)):
            names = {f"{example.row['voi_id']}{ending}" for example in examples}
            refuse_others(folder / f"{kind}{part}", "*", names)


def _write(example: Example, folder: Path, part: str, weak: str, link: bool) -> None:
    name = example.row["voi_id"]
    image = folder / f"images{part}" / f"{name}_0000{ENDING}"
    label = folder / f"labels{part}" / f"{name}{ENDING}"
    try:
        put_image(example, image, link)
        put_label(example, label, weak, link)
    except CaseError:
        # nnU-Net takes every image that it finds for one with a label.
        image.unlink(missing_ok=True)
        label.unlink(missing_ok=True)
        raise
