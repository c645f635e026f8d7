"""Find the masks of manifests that a certificate judges, and measure them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from uls_data.certificates.judged import Judged, identity_of
from uls_data.certificates.measures import judged
from uls_data.engine import Pool, run_tasks
from uls_data.ensemble.member import Mask, member_of
from uls_data.ensemble.subject import Subject, read_label
from uls_data.errors import CaseError, ManifestError
from uls_data.ids import draw, hash_of
from uls_data.manifest.choice import Choice, is_ellipsoid, layer_of, voi_of
from uls_data.manifest.example import Example, read_examples, with_images
from uls_data.manifest.parquet import manifest_files
from uls_data.manifest.recist import recist_of
from uls_data.manifest.row import Row
from uls_data.measure import axes
from uls_data.measure.lines import Lines, jittered
from uls_data.outcome import Reason, Status, Supervision
from uls_data.tables import Record

Paths = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Gathered:
    """Masks of a layer, measured.

    Attributes
    ----------
    layer : str
    masks : list of Judged
        By patient and identity.
    failed : list of dict
        Masks that cannot be read: `identity`, `voi_id`, `reason`, `detail`.
    labels_sha256, truth_sha256 : str
        Over the hashes of the voxels of all masks, and of their truths, in order.
    models : list of str
        Hashes of the models that made the masks.
    has_lines : bool
        Whether most rows hold a reader's lines.
    """

    layer: str
    masks: list[Judged]
    failed: list[Record]
    labels_sha256: str
    truth_sha256: str
    models: list[str]
    has_lines: bool


@dataclass(frozen=True)
class Found:
    """Masks of a layer, not read yet: rows with the labels of the other layers of their VOIs."""

    layer: str
    examples: list[Example]
    beside: dict[tuple[Any, ...], dict[str, Path]]

    @property
    def has_lines(self) -> bool:
        """Whether most rows hold a reader's lines."""
        return 2 * sum(recist_of(one.row) is not None for one in self.examples) > len(self.examples)


@dataclass(frozen=True)
class _Task:
    example: Example
    layers: dict[str, Path]
    truth: Path | None


def find_masks(
    manifests: Paths,
    layer: str | None,
    beside: Sequence[str | Path] = (),
    *,
    filtered: bool = False,
) -> Found:
    """Pseudo-masks in 3D of one layer that count.

    Parameters
    ----------
    layer : str, optional
        Default: the only one; ellipsoids of lines only where there is no other.
    beside : sequence of path
        Manifests with further layers of the same VOIs, or their images.
    filtered : bool
        Take masks, too, that a filter removed before.

    Raises
    ------
    ManifestError
        None, or several layers.
    """
    everything = list(read_examples(manifests))
    others = list(read_examples(list(beside))) if beside else []
    choice = Choice(example.row for example in everything)
    pictured = list(with_images([*everything, *others]))
    counted = [
        example
        for example in pictured[: len(everything)]
        if example.row["label_path"] and choice.why_not(example.row) is None
        if example.row["status"] == Status.OK
        or (filtered and example.row["reason"] == Reason.FILTERED)
    ]
    solid = [one for one in counted if one.row["supervision"] == Supervision.PSEUDO_3D]
    if layer is None:
        drawn = all(is_ellipsoid(one.row) for one in solid)
        solid = [one for one in solid if drawn or not is_ellipsoid(one.row)]
    else:
        solid = [one for one in solid if layer in (one.row["layer"], layer_of(one.row))]
    names = sorted({layer_of(one.row) for one in solid})
    if len(names) > 1:
        raise ManifestError(f"several layers of masks in 3D, {', '.join(names)}: say --layer")
    if not solid:
        what = "no pseudo-mask in 3D" if layer is None else f"no pseudo-mask of layer {layer!r}"
        files = ", ".join(map(str, manifest_files(manifests)))
        raise ManifestError(f"{files}: {what} that counts")
    layers: dict[tuple[Any, ...], dict[str, Path]] = {}
    for one in [*counted, *others]:
        row = one.row
        if row["status"] == "ok" and row["label_path"] and row["supervision"] != Supervision.FULL:
            layers.setdefault(voi_of(row), {})[layer_of(row)] = one.label
    solid.sort(key=lambda one: one.identity)
    return Found(names[0], solid, layers)


def find_truth(manifests: Paths) -> dict[tuple[Any, ...], Example]:
    """Full masks of manifests, by their VOIs."""
    rows = list(read_examples(manifests))
    choice = Choice(example.row for example in rows)
    return {
        voi_of(one.row): one
        for one in rows
        if choice.counts(one.row)
        and one.row["supervision"] == Supervision.FULL
        and one.row["label_path"]
    }


def gather(
    found: Found,
    members: Sequence[str],
    truth: dict[tuple[Any, ...], Example] | None = None,
    *,
    draw_lines: bool = False,
    jitter: float = 0.0,
    seed: int = 0,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Gathered:
    """Read and measure masks.

    Parameters
    ----------
    members : sequence of str
        See `uls_data.ensemble.member.member_of`.
    truth : dict, optional
        What the masks should be: only VOIs that are in it are measured.
    draw_lines : bool
        Draw lines from the truth where a row has none, as a reader would with `jitter`.
    """
    tasks = []
    for example in found.examples:
        voi = voi_of(example.row)
        if truth is None or voi in truth:
            layers = {k: v for k, v in found.beside.get(voi, {}).items() if k != found.layer}
            tasks.append(_Task(example, layers, None if truth is None else truth[voi].label))
    measured = partial(
        _measured, members=tuple(members), draw_lines=draw_lines, jitter=jitter, seed=seed
    )
    masks: list[Judged] = []
    failed: list[Record] = []
    for _, result in run_tasks(measured, tasks, Pool(workers), lost=_lost):
        if isinstance(result, Judged):
            masks.append(result)
        else:
            failed.append(result)
        if progress is not None:
            progress(1)
    masks.sort(key=lambda mask: (mask.patient, mask.identity))
    failed.sort(key=lambda row: str(row["voi_id"]))
    rows = [task.example.row for task in tasks]
    truths = [truth[voi_of(row)].row for row in rows] if truth is not None else []
    return Gathered(
        found.layer,
        masks,
        failed,
        hash_of(str(row["label_voxels_sha256"]) for row in rows),
        hash_of(str(row["label_voxels_sha256"]) for row in truths),
        sorted({row["model_sha256"] for row in rows if row["model_sha256"]}),
        found.has_lines,
    )


def _measured(
    task: _Task, *, members: tuple[str, ...], draw_lines: bool, jitter: float, seed: int
) -> Judged | Record:
    example = task.example
    row = example.row
    try:
        mask = read_label(example.label)
        truth = None if task.truth is None else read_label(task.truth)
        subject = Subject(row, example.image if row["image_path"] else None, task.layers)
        if (drawn := recist_of(row)) is not None:
            lines, at = drawn
            if lines.problem() is None:
                subject = replace(subject, lines=lines, key_slice=at)
        elif draw_lines and truth is not None:
            subject = with_drawn_lines(subject, truth, jitter, seed)
        return judged(subject, mask, [member_of(name) for name in members], truth)
    except CaseError as error:
        return _failed(row, error.reason, error.detail)


def with_drawn_lines(subject: Subject, truth: Mask, jitter: float, seed: int) -> Subject:
    """Lines on the slice of the long axis, with the noise of a reader."""
    at = axes.measure(truth).slice_index
    lines = None if at is None else Lines.from_mask(truth[:, :, at])
    if lines is None:
        return subject
    row = subject.row
    own = draw(1 << 63, seed, "lines", row["source"], row["case_id"], row["lesion_index"] or 0)
    lines = jittered(lines, np.random.default_rng(own), jitter)
    if lines.problem() is not None:
        return subject
    return replace(subject, lines=lines, key_slice=at)


def _lost(task: _Task, detail: str) -> Record:
    return _failed(task.example.row, Reason.WORKER_LOST, detail)


def _failed(row: Row, reason: Reason, detail: str) -> Record:
    about = {"identity": identity_of(row), "voi_id": row["voi_id"]}
    return {**about, "reason": reason.value, "detail": detail}
