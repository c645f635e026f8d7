"""Which rows of manifests train, which are held out, and which must do neither."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from uls_data.errors import ManifestError
from uls_data.manifest.choice import UNCERTIFIED, UNNAMED, Choice, best, is_ellipsoid, is_of
from uls_data.manifest.example import Example, read_examples, with_images
from uls_data.manifest.patients import patient_key, patient_space
from uls_data.outcome import LEAKS, Status, Supervision
from uls_data.recipe import load_recipe, recipe_names

COLUMNS = (
    *("source", "case_id", "patient_id", "lesion_index", "sample_index", "voi_id", "layer"),
    *("status", "image_path", "label_path", "pad_value_hu", "lesion_type", "supervision", "split"),
    *(f"pad_{side}_{axis}_vox" for side in ("before", "after") for axis in "xyz"),
    *("voi_origin_x_vox", "voi_origin_y_vox", "voi_origin_z_vox"),
    *("spacing_x_mm", "spacing_y_mm", "spacing_z_mm", "long_axis_vox", "long_axis_mm"),
    *("key_slice_voi", "recist_points_vox", "recist_outward_vox"),
    *("image_source_sha256", "image_sha256", "image_voxels_sha256"),
    *("reason", "parent_layer", "qc_flags"),
    *("label_voxels_sha256", "source_lesion_id", "predicted_dice", "candidate_scores"),
    *("certified", "lesion_track_id", "study_day", "annotation_scope"),
)


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
    certified: bool = False,
    include_heldout: bool = False,
    leave_out: Collection[str] = (),
    heldout_alone: bool = False,
) -> Examples:
    """Rows of manifests as training and held-out examples.

    A patient is held out if any row of any of the manifests, or any shipped recipe, says so,
    in whichever source the person occurs. Rows that `audit` flagged as leaks do not train. Only
    masks that count do either (`uls_data.manifest.choice`). Rows without a patient are left out
    where their source holds patients out: one of those could be behind them.

    Parameters
    ----------
    layers : collection of str
        Layers to take. Default: the preferred one of each VOI; ellipsoids of lines are taken
        only where they are named.
    certified : bool
        Of pseudo-masks only those that a certificate keeps.
    include_heldout : bool
        Train on held-out patients too, as the paper's final training does.
    leave_out : collection of str
        Patients (`patient_key`) who do not train either: the other folds, for instance.
    heldout_alone : bool
        Whether rows of held-out patients are enough: there may be none to train on.

    Raises
    ------
    ManifestError
        No row to train on, several masks of a VOI to choose from, or one row twice.
    """
    heldout = set(heldout_patients())
    left_out: Counter[str] = Counter()
    rows = list(read_examples(manifests, COLUMNS))
    heldout |= {patient_key(e.row) for e in rows if e.row["split"] == "heldout"}
    # A lesion that is followed from one patient to another shows that they are one.
    tracks = {e.row["lesion_track_id"] for e in rows if patient_key(e.row) in heldout} - {None}
    heldout |= {patient_key(e.row) for e in rows if e.row["lesion_track_id"] in tracks}
    kept: list[Example] = []
    choice = Choice(example.row for example in rows)
    for example in with_images(rows):
        row = example.row
        why = choice.why_not(row)
        if why is not None:
            left_out[why] += 1
        elif row["status"] != Status.OK or not row["image_path"] or not row["label_path"]:
            left_out["without image, label or status ok"] += 1
        elif layers and not is_of(row, layers):
            left_out["of other layers"] += 1
        elif not layers and is_ellipsoid(row):
            left_out[UNNAMED] += 1
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
        if certified and row["supervision"] != Supervision.FULL and not row["certified"]:
            left_out[UNCERTIFIED] += 1
            continue
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
    if not (found.train or (heldout_alone and found.heldout)):
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
    found = list(read_examples(manifests))
    choice = Choice(example.row for example in found)
    rows = (
        example
        for example in with_images(found)
        if choice.counts(example.row) and example.row["image_path"]
        if not layers or is_of(example.row, layers)
    )
    found = _one_layer(sorted(rows, key=lambda example: example.identity), (), Counter())
    if not found:
        raise ManifestError("no row with status ok and an image: nothing to predict")
    return found


def _one_layer(
    examples: list[Example], layers: Collection[str], left_out: Counter[str]
) -> list[Example]:
    """One mask for each VOI."""
    chosen: list[Example] = []
    for voi, group in groupby(examples, key=lambda example: example.identity[:4]):
        masks = list(group)
        names = [mask.row["layer"] for mask in masks]
        if len(set(names)) < len(names):
            raise ManifestError(f"two rows hold {'/'.join(map(str, voi))} of one layer")
        if layers:
            chosen += masks
            continue
        first = best([mask.row for mask in masks])
        chosen += [mask for mask in masks if mask.row is first]
        left_out["of other layers"] += len(masks) - 1
    left_out += Counter()  # drops zeros
    return chosen


def split_by(examples: Sequence[Example], name: Callable[[Example], Any]) -> dict[str, int]:
    """Count examples by what `name` says about them, the most frequent first."""
    return {str(key): n for key, n in Counter(map(name, examples)).most_common()}
