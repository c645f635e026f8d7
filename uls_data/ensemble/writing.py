"""Write what a member makes of VOIs as a layer, so that others can use it as one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from uls_data.ensemble.member import Member
from uls_data.ensemble.subject import Subject
from uls_data.errors import CaseError, ManifestError
from uls_data.ids import LAYER_NAME
from uls_data.manifest.choice import Choice, best, is_of, voi_of
from uls_data.manifest.derived import check_layer, derived_row, ended, with_label
from uls_data.manifest.example import Example, read_examples, with_images
from uls_data.manifest.parquet import manifest_files, write_manifest
from uls_data.manifest.recist import recist_of
from uls_data.manifest.row import Row
from uls_data.outcome import Reason, Supervision
from uls_data.voi import VOI_SHAPE


def write_layer(
    manifests: str | Path | Sequence[str | Path],
    member: Member,
    out: str | Path,
    *,
    parents: Collection[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Make a layer of what a member makes of every VOI with an image.

    Parameters
    ----------
    manifests : path or sequence of paths
        Whose images and lines are read.
    member : Member
        Its name is the layer's.
    out : path
        OUT folder: `<source>/labels/<layer>/` and `manifest/<layer>.parquet`.
    parents : collection of str
        Layers whose lines are taken; default: those of the preferred mask of each VOI.

    Returns
    -------
    Path
        The manifest: a row for each VOI, with its reason where the member made no mask.

    Raises
    ------
    ManifestError
        No VOI with an image, a name that no layer can have, or the member makes something else
        than masks.
    """
    out = Path(out)
    if not LAYER_NAME.fullmatch(member.name):
        raise ManifestError(f"layer {member.name!r}: expected a name such as medsam2")
    check_layer(member.name, out)
    examples = list(read_examples(manifests))
    choice = Choice(example.row for example in examples)
    vois: dict[object, list[Example]] = {}
    for example in with_images(examples):
        row = example.row
        if choice.counts(row) and row["image_path"] and (not parents or is_of(row, parents)):
            vois.setdefault(voi_of(row), []).append(example)
    if not vois:
        files = ", ".join(map(str, manifest_files(manifests)))
        raise ManifestError(f"{files}: no row with status ok and an image")
    rows = []
    for several in vois.values():
        first = best([one.row for one in several])
        rows.append(_made(next(one for one in several if one.row is first), member, out))
        if progress is not None:
            progress(1)
    path = out / "manifest" / f"{member.name}.parquet"
    write_manifest(rows, path)
    return path


def _made(example: Example, member: Member, out: Path) -> Row:
    parent = example.row
    root = example.image_root or example.root
    row = derived_row(parent, member.name, keep_image=root.absolute() == out.absolute())
    row |= {"parent_layer": parent["layer"], "supervision": Supervision.PSEUDO_3D.value}
    subject = Subject(parent, example.image)
    if (drawn := recist_of(parent)) is not None:
        subject = replace(subject, lines=drawn[0], key_slice=drawn[1])
    try:
        mask = member.mask(subject)
        if mask is None:
            needs = ", ".join(sorted(member.needs))
            return ended(row, Reason.NOT_MEASURED, f"{member.name} needs {needs}")
        if mask.dtype != bool or mask.shape not in (VOI_SHAPE, VOI_SHAPE[:2]):
            raise ManifestError(
                f"{member.name}: expected a mask of bool and of shape {VOI_SHAPE}, or "
                f"{VOI_SHAPE[:2]} of the key slice; found {mask.dtype} of {mask.shape}"
            )
        if mask.ndim == 2:
            row |= {"supervision": Supervision.WEAK_2D.value}
            whole = np.zeros(VOI_SHAPE, bool, order="F")
            whole[:, :, parent["key_slice_voi"]] = mask
            mask = whole
        if not mask.any():
            return ended(row, Reason.EMPTY_PREDICTION, f"{member.name} found no lesion")
        return with_label(row, mask, out)
    except CaseError as error:
        return ended(row, error.reason, error.detail)
