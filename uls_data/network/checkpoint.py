"""Checkpoints and model folders, in nnU-Net v2's layout; read as weights, never as programs.

A folder holds `plans.json`, `dataset.json` and `fold_N/checkpoint_*.pth`, as nnU-Net has it,
and our plan as `plan.yaml`. A checkpoint carries its plan and what training was given
under the key `uls_data`, in plain values, so that one file is enough.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uls_data.io import atomic_write, sha256_bytes, sha256_file, write_bytes
from uls_data.network.architecture import build_network, deep_logits
from uls_data.network.nnunet_model import (
    CONFIGURATION,
    nnunet_dataset,
    nnunet_files,
    nnunet_plans,
    plan_from_nnunet,
    read_json,
)
from uls_data.network.plan import Intensities, ModelError, Plan, parse_plan
from uls_data.network.voxels import Region, channels_of

OURS = "uls_data"
FINAL, LATEST = "checkpoint_final.pth", "checkpoint_latest.pth"
_CHOICES = (FINAL, "checkpoint_best.pth", LATEST)
_LOGGED = (
    *("mean_fg_dice", "ema_fg_dice", "dice_per_class_or_region", "train_losses", "val_losses"),
    *("lrs", "epoch_start_timestamps", "epoch_end_timestamps"),
)
_PREFIXES = ("module.", "_orig_mod.")


@dataclass
class Model:
    """A trained network, or several that are averaged, and what is known of them.

    Attributes
    ----------
    plan : Plan
        With intensities as numbers.
    networks : tuple of torch.nn.Module
        Without deep supervision, for inference.
    record : dict
        What training was given: `seed`, `weak`, `include_heldout`, `heldout_seen`,
        `passport_sha256` (of the file beside the checkpoint), `lesions`
        (`source/case/lesion`) and `patients` (`patient_key`) that trained it or a model it
        started from. Empty where nnU-Net trained it.
    sha256 : str
        Of the checkpoint's file; of several, of their own in a sorted list.
    notes : tuple of str
        What a user should know before using it.
    """

    plan: Plan
    networks: tuple[Any, ...]
    record: dict[str, Any]
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def intensities(self) -> Intensities:
        """HU by which images are normalised."""
        assert isinstance(self.plan.intensities, Intensities)
        return self.plan.intensities

    def image(self, voi: Region) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Normalised crop of a VOI, shape (channels, z, y, x) of the plan's crop, float32."""
        return channels_of(voi.cut(voi.click, self.plan.crop), self.intensities)

    def logits(self, images: Any) -> Any:
        """Mean logits of background and lesion, (batch, 2, z, y, x), of normalised crops."""
        total, *others = (deep_logits(net, self.plan, images)[0] for net in self.networks)
        return sum(others, total) / len(self.networks) if others else total


def load_model(
    paths: str | Path | Sequence[str | Path], device: str = "cpu", fold: str | None = None
) -> Model:
    """Model of a folder or a checkpoint file; of several, one whose logits are their mean.

    Parameters
    ----------
    paths : path or sequence of paths
        Folder as nnU-Net or `train` writes it, or a checkpoint; one of nnU-Net needs the
        folder's files about it. Several folds of a folder are averaged too, as nnU-Net does. The
        order does not matter: models are sorted by their hashes.
    fold : str, optional
        Only this one, such as `0` or `all`.

    Raises
    ------
    ModelError
        No model, one of another kind, one given twice, or models that do not see the same: another
        crop, pool, prompt or normalisation.
    """
    paths = [paths] if isinstance(paths, str | Path) else paths
    files = [file for path in paths for file in checkpoints_of(Path(path), fold)]
    if not files:
        raise ModelError("no model given")
    members = sorted((_one(file, device) for file in files), key=lambda member: member.sha256)
    for file, count in Counter(member.sha256 for member in members).items():
        if count > 1:
            raise ModelError(f"{', '.join(map(str, paths))}: checkpoint {file[:12]} is given twice")
    first = members[0]
    for other in members[1:]:
        for name in ("crop", "pool", "prompt", "intensities"):
            mine, theirs = getattr(first.plan, name), getattr(other.plan, name)
            if mine != theirs:
                raise ModelError(
                    f"{', '.join(map(str, paths))}: models with other {name} cannot be averaged: "
                    f"{mine} and {theirs}; predict with each of them"
                )
    return first if len(members) == 1 else _averaged(members)


def _one(file: Path, device: str) -> Model:
    with ThreadPoolExecutor(1) as pool:
        hashed = pool.submit(sha256_file, file)
        plan, network, record, notes = _loaded(file)
        network.to(device).eval()
        return Model(plan, (network,), record, hashed.result(), notes)


def _averaged(members: list[Model]) -> Model:
    records = [member.record for member in members]
    return Model(
        members[0].plan,
        tuple(network for member in members for network in member.networks),
        {
            name: sorted({entry for record in records for entry in record[name]})
            for name in ("lesions", "patients")
            if all(record.get(name) is not None for record in records)
        },
        sha256_bytes("\n".join(member.sha256 for member in members).encode()),
        tuple(dict.fromkeys(note for member in members for note in member.notes)),
    )


def _loaded(file: Path) -> tuple[Plan, Any, dict[str, Any], tuple[str, ...]]:
    stored = read_checkpoint(file)
    record = stored.get(OURS)
    notes: tuple[str, ...] = ()
    if isinstance(record, dict):
        plan = parse_plan(record.get("plan"), str(file))
    else:
        where = file.parent.parent / "plans.json"
        configuration = (stored.get("init_args") or {}).get("configuration", CONFIGURATION)
        plan, notes = plan_from_nnunet(read_json(where), configuration, str(where))
        record = {}
    if not isinstance(plan.intensities, Intensities):
        raise ModelError(f"{file}: its plan has no intensities")
    with torch.device("meta"):
        network = build_network(plan.architecture, channels=plan.channels)
    load_weights(network, stored["network_weights"], str(file))
    return plan, network, record, notes


def load_weights(network: Any, weights: Any, where: str) -> None:
    """Put weights into a network (which may have none yet); they must fit exactly."""
    try:
        plain = {_without_prefix(str(name)): tensor.float() for name, tensor in weights.items()}
        network.load_state_dict(plain, assign=True)
    except (RuntimeError, AttributeError, TypeError) as error:
        words = " ".join(str(error).split())
        raise ModelError(f"{where}: weights do not fit the plan: {words[:400]}") from error


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a checkpoint: tensors, numbers, text, and numpy numbers as nnU-Net logs them.

    Raises
    ------
    ModelError
        Not a checkpoint, or one that holds anything else: it is not opened.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_numpy_names()):
            warnings.simplefilter("ignore")  # of protocols that torch may not know
            # Not mapped: rewriting the file would change the weights under us.
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        # Torch's own words advise to open it in a way that runs what it holds.
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"it names {found[1]}" if found else "damaged, or another kind of file"
        raise ModelError(
            f"{path}: not a checkpoint of weights alone ({what}). Other content is never "
            "run; save the weights again with torch.save({'network_weights': ...})"
        ) from error
    if not isinstance(stored, dict) or not isinstance(stored.get("network_weights"), dict):
        raise ModelError(f"{path}: no network_weights in it; expected a checkpoint of nnU-Net v2")
    return stored


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint whole or not at all."""
    # torch takes no file name that starts with a dot.
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        torch.save(_interned(content), file)


def _interned(value: Any) -> Any:
    """Copy in which equal strings are one object: pickle writes it once, wherever it came from."""
    if type(value) is dict:
        return {_interned(key): _interned(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_interned, value))
    return sys.intern(value) if type(value) is str else value


def write_model_files(folder: Path, plan: Plan, training: int) -> None:
    """Write what belongs to a model folder beside its checkpoints."""
    if not isinstance(plan.intensities, Intensities):
        raise ModelError(f"plan {plan.name}: no intensities yet")
    # nnU-Net has no lines to tell: it must not take such a model for one of its own.
    files = {} if plan.prompt is not None else nnunet_files(plan, plan.intensities, training)
    for name, content in files.items():
        write_bytes(folder / name, (json.dumps(content, indent=1) + "\n").encode())
    write_bytes(folder / "plan.yaml", plan.text().encode())


def nnunet_checkpoint(
    plan: Plan, network: Any, optimizer: Any, scaler: Any, epoch: int, record: dict[str, Any]
) -> dict[str, Any]:
    """Content of a checkpoint that nnU-Net reads, with our record beside it."""
    if not isinstance(plan.intensities, Intensities):
        raise ModelError(f"plan {plan.name}: no intensities yet")
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "grad_scaler_state": scaler.state_dict() if scaler is not None else None,
        "logging": {name: [] for name in _LOGGED},
        "_best_ema": None,
        "current_epoch": epoch,
        "init_args": {}
        if plan.prompt is not None
        else {
            "plans": nnunet_plans(plan, plan.intensities),
            "configuration": CONFIGURATION,
            "fold": 0,
            "dataset_json": nnunet_dataset(0),
        },
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        OURS: {**record, "plan": plan.model_dump(mode="json")},
    }


def checkpoints_of(path: Path, fold: str | None = None) -> list[Path]:
    """Checkpoint of a file or a model folder, one a fold.

    Raises
    ------
    ModelError
        None there.
    """
    if path.is_file():
        return [path]
    folders = [path / f"fold_{fold}"] if fold is not None else sorted(path.glob("fold_*"))
    named = [[folder / name for name in _CHOICES] for folder in folders]
    found = [next((file for file in files if file.is_file()), None) for files in named]
    if any(found):
        return [file for file in found if file is not None]
    what = "holds no fold_*/checkpoint_*.pth" if path.is_dir() else "no such file or folder"
    raise ModelError(f"{path}: {what}; expected a model folder of nnU-Net v2 or a checkpoint")


def _without_prefix(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _numpy_names() -> list[Any]:
    """Makers of numpy's numbers and arrays, under the names of numpy 1 and 2."""
    multiarray = np._core.multiarray  # type: ignore[attr-defined]
    makers = [(multiarray.scalar, "scalar"), (multiarray._reconstruct, "_reconstruct")]
    names: list[Any] = [
        (make, f"{module}.multiarray.{name}")
        for make, name in makers
        for module in ("numpy.core", "numpy._core")
    ]
    names += [np.dtype, np.ndarray]
    for kind in ("Float64", "Float32", "Int64", "Int32", "Bool"):
        with suppress(AttributeError):
            names.append(getattr(np.dtypes, f"{kind}DType"))
    return names
