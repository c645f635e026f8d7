"""Which rows of manifests train, which are held out, and which must do neither."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from uls_data.errors import ManifestError
from uls_data.manifest.table import manifest_files, read_table
from uls_data.outcome import LEAKS, Reason, Status
from uls_data.recipe import load_recipe, recipe_names

# Sources whose patients are those of another source, under the same ids.
_SAME_PATIENTS = {"deeplesion3d": "deeplesion"}
_WITHDRAWN = (Reason.ERRATUM_DROP, Reason.ERRATUM_RECLICK)
_PSEUDO = re.compile(r"pseudo3d-r(\d+)")
COLUMNS = (
    *("source", "case_id", "patient_id", "lesion_index", "sample_index", "voi_id", "layer"),
    *("status", "image_path", "label_path", "pad_value_hu", "lesion_type", "supervision", "split"),
    *(f"pad_{side}_{axis}_vox" for side in ("before", "after") for axis in "xyz"),
    *("spacing_x_mm", "spacing_y_mm", "spacing_z_mm", "long_axis_vox", "long_axis_mm"),
    *("key_slice_voi", "image_voxels_sha256", "reason", "parent_layer", "qc_flags"),
)
Row = dict[str, Any]


def patient_space(source: str) -> str:
    """Name shared by sources that call the same people by the same ids."""
    return _SAME_PATIENTS.get(source, source)


def patient_key(row: Row) -> str:
    """One person across sources; the scan stands for a patient who is not known."""
    space = patient_space(row["source"])
    if row["patient_id"] is None:
        return f"{space}/case/{row['case_id']}"
    return f"{space}/{row['patient_id']}"


@cache
def heldout_patients() -> frozenset[str]:
    """Keys of the patients whom the shipped recipes hold out, whatever a manifest says."""
    recipes = (load_recipe(name).recipe for name in recipe_names())
    return frozenset(
        f"{patient_space(recipe.source)}/{patient}"
        for recipe in recipes
        for patient in recipe.heldout_patients
    )


@dataclass(frozen=True)
class Example:
    """One VOI with one mask.

    Attributes
    ----------
    root : Path
        Folder that the row's paths start from.
    row : dict
        Those columns of the manifest that `COLUMNS` names, or all.
    image_root : Path or None
        Folder that `image_path` starts from, where it is another one: layers that were made
        outside a build leave the images where they are.
    """

    root: Path
    row: Row
    image_root: Path | None = None

    @property
    def identity(self) -> tuple[str, str, int, int, str]:
        """Source, case, lesion, sample and layer: the manifest's key."""
        row = self.row
        names = ("source", "case_id", "lesion_index", "sample_index", "layer")
        source, case, lesion, sample, layer = (row[name] for name in names)
        return str(source), str(case), int(lesion), int(sample), str(layer)

    @property
    def lesion(self) -> str:
        """Key of the lesion, whatever the click and the layer."""
        source, case, lesion, _, _ = self.identity
        return f"{source}/{case}/{lesion}"


@dataclass(frozen=True)
class Examples:
    """Rows, sorted by identity, and what was left out.

    Attributes
    ----------
    train, heldout : list of Example
        `heldout` is scored at validation; with `include_heldout` it is in `train` too.
    left_out : Counter
        Rows that do neither, by reason.
    """

    train: list[Example]
    heldout: list[Example]
    left_out: Counter[str] = field(default_factory=Counter)


def find_examples(
    manifests: str | Path | Sequence[str | Path],
    *,
    layers: Collection[str] = (),
    include_heldout: bool = False,
    leave_out: Collection[str] = (),
) -> Examples:
    """Rows of manifests as training and held-out examples.

    A patient is held out if any row of any of the manifests, or any shipped recipe, says so,
    in whichever source the person occurs. Rows that `audit` flagged as leaks do not train. What a
    correction withdrew does neither, and a corrected mask stands in for its parent. Rows without
    a patient are left out where their source holds patients out: one of those could be behind
    them.

    Parameters
    ----------
    layers : collection of str
        Layers to take. Default, for each VOI: its only layer, else `annotated`, the last
        `pseudo3d-rN` or `jury`.
    include_heldout : bool
        Train on held-out patients too, as the paper's final training does.
    leave_out : collection of str
        Patients (`patient_key`) who do not train either: the other folds, for instance.

    Raises
    ------
    ManifestError
        No row to train on, several masks of a VOI to choose from, or one row twice.
    """
    heldout = set(heldout_patients())
    left_out: Counter[str] = Counter()
    rows = list(_rows(manifests, COLUMNS))
    heldout |= {patient_key(e.row) for e in rows if e.row["split"] == "heldout"}
    kept: list[Example] = []
    withdrawn = _withdrawn(rows)
    for example in _with_images(rows):
        row = example.row
        if _voi_of(row) in withdrawn:
            left_out["left out by corrections"] += 1
        elif row["status"] != Status.OK or not row["image_path"] or not row["label_path"]:
            left_out["without image, label or status ok"] += 1
        elif layers and row["layer"] not in layers:
            left_out["of other layers"] += 1
        else:
            kept.append(example)
    kept.sort(key=lambda example: example.identity)
    chosen = _one_layer(kept, layers, left_out)
    spaces = {key.split("/")[0] for key in heldout}
    found = Examples([], [], left_out)
    for example in chosen:
        row, key = example.row, patient_key(example.row)
        held = key in heldout
        unknown = row["patient_id"] is None and patient_space(row["source"]) in spaces
        if held:
            found.heldout.append(example)
        if key in leave_out:
            left_out["of patients left out on purpose"] += 1
        elif not include_heldout and not held and LEAKS.intersection(row["qc_flags"] or ()):
            left_out["flagged by `uls-data audit` as leaks"] += 1
        elif not include_heldout and unknown and not held:
            left_out["of unknown patients, who could be held out"] += 1
        elif include_heldout or not held:
            found.train.append(example)
    if not found.train:
        why = "; ".join(f"{count} {reason}" for reason, count in sorted(left_out.items()))
        raise ManifestError(
            f"no row to train on: {len(found.heldout)} of held-out patients"
            + (f"; {why}" if why else "")
        )
    return found


def find_vois(
    manifests: str | Path | Sequence[str | Path], layers: Collection[str] = ()
) -> list[Example]:
    """Every VOI with an image once, with all columns of the row whose mask is the best.

    Parameters
    ----------
    layers : collection of str
        Layers to take the row from. Default: as for training.

    Raises
    ------
    ManifestError
        No VOI with an image, or several masks of a VOI to choose from.
    """
    found = list(_rows(manifests, None))
    withdrawn = _withdrawn(found)
    rows = (
        example
        for example in _with_images(found)
        if example.row["status"] == Status.OK and example.row["image_path"]
        if _voi_of(example.row) not in withdrawn
        if not layers or example.row["layer"] in layers
    )
    found = _one_layer(sorted(rows, key=lambda example: example.identity), (), Counter())
    if not found:
        raise ManifestError("no row with status ok and an image: nothing to predict")
    return found


def _rows(
    manifests: str | Path | Sequence[str | Path], columns: Sequence[str] | None
) -> Iterator[Example]:
    for file in manifest_files(manifests):
        root = file.parent.parent if file.parent.name == "manifest" else file.parent
        for row in read_table(file, columns).to_pylist():
            yield Example(root, row)


def _voi_of(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("source", "case_id", "lesion_index", "sample_index"))


def _withdrawn(examples: list[Example]) -> set[tuple[Any, ...]]:
    """VOIs that a correction takes away, whatever other layers they have."""
    return {_voi_of(e.row) for e in examples if e.row["reason"] in _WITHDRAWN}


def _with_images(examples: list[Example]) -> Iterator[Example]:
    """Rows without an image get that of another row of their VOI, if it is the very same."""
    images: dict[tuple[Any, ...], Example] = {}
    for example in examples:
        if example.row["image_path"]:
            images.setdefault(_image_of(example), example)
    for example in examples:
        other = images.get(_image_of(example))
        if other is None or example.row["image_path"] or example.row["label_path"] is None:
            yield example
        else:
            row = {**example.row, "image_path": other.row["image_path"]}
            yield Example(example.root, row, other.image_root or other.root)


def _image_of(example: Example) -> tuple[Any, ...]:
    names = ("source", "case_id", "lesion_index", "sample_index", "image_voxels_sha256")
    return tuple(example.row[name] for name in names)


def _one_layer(
    examples: list[Example], layers: Collection[str], left_out: Counter[str]
) -> list[Example]:
    """One mask for each VOI."""
    chosen: list[Example] = []
    for voi, group in groupby(examples, key=lambda example: example.identity[:4]):
        masks = list(group)
        names = [mask.row["layer"] for mask in masks]
        if len(set(names)) < len(names):
            raise ManifestError(f"two manifests hold {'/'.join(map(str, voi))} of one layer")
        if layers:
            chosen += masks
            continue
        best = max(masks, key=lambda mask: _preference(mask.row))
        if len(masks) > 1 and _preference(best.row) < 0:
            raise ManifestError(
                f"{best.row['voi_id']} has the layers {', '.join(names)}: say --layer"
            )
        chosen.append(best)
        left_out["of other layers"] += len(masks) - 1
    left_out += Counter()  # drops zeros
    return chosen


def _preference(row: Row) -> int:
    """Rank of a layer; a corrected mask stands just above the one that it was made from."""
    corrected: bool = row["layer"] == "corrected"
    layer = (row["parent_layer"] if corrected else row["layer"]) or ""
    pseudo = _PSEUDO.fullmatch(layer)
    rank = int(pseudo[1]) + 1 if pseudo else {"annotated": 1 << 30, "jury": 0}.get(layer, -1)
    return 2 * rank + int(corrected)


def split_by(examples: Sequence[Example], name: Callable[[Example], Any]) -> dict[str, int]:
    """Count examples by what `name` says of them, the most frequent first."""
    return {str(key): n for key, n in Counter(map(name, examples)).most_common()}
