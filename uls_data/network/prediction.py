"""`predict`: a 3D mask for every VOI, as a layer: read, predict, measure and write side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data._version import __version__
from uls_data.ensemble.agreement import key_slice_columns
from uls_data.errors import CaseError
from uls_data.geometry import Triple
from uls_data.ids import LAYER_NAME
from uls_data.io.lock import locked
from uls_data.manifest.by_axis import spacing_of
from uls_data.manifest.derived import check_layer, derived_row, ended, with_label
from uls_data.manifest.example import Example
from uls_data.manifest.parquet import write_manifest
from uls_data.manifest.row import Row
from uls_data.network.checkpoint import Model, load_model
from uls_data.network.device import Precision, usable_device
from uls_data.network.drawn import respected, rule_of, votes
from uls_data.network.examples import find_vois
from uls_data.network.inference import Answer, Predictor, Rule, Settings
from uls_data.network.plan import VOI_ZYX, ModelError
from uls_data.network.prediction_report import PredictReport
from uls_data.network.progress import Progress
from uls_data.network.prompt import drawn_of
from uls_data.network.sampling import read_ahead
from uls_data.network.view import Job, read_job
from uls_data.network.voxels import CENTRE_ZYX, Region
from uls_data.outcome import Flag, Reason, Supervision
from uls_data.pseudomask.methods import JURY_3D
from uls_data.voi import VOI_SHAPE

LAYER = "pseudo3d-r1"


def predict(
    manifests: str | Path | Sequence[str | Path],
    model: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    layer: str = LAYER,
    parents: Collection[str] = (),
    tta: bool = False,
    jitter: int = 0,
    device: str = "auto",
    precision: Precision = "auto",
    batch_size: int = 2,
    compiled: bool = False,
    seed: int = 0,
    workers: int = 2,
    key_slice: Rule = "auto",
    image_vote: bool | None = None,
    dry_run: bool = False,
    started: Callable[[int, int], None] | None = None,
    progress: Callable[[int], None] | None = None,
    warned: Callable[[str], None] | None = None,
) -> PredictReport:
    """Predict the clicked lesion of every VOI of manifests.

    The mask is the 6-connected component at the VOI's centre (the click), or, by a model that is
    told a reader's lines, at the middle of their ellipse. Where that is not lesion it is the
    component nearest to it within 5 mm (a row whose centre lies outside is flagged
    `centre_outside_mask`); without one the row is skipped (`empty_prediction`). Masks do not depend
    on `batch_size`, `workers`, or which other VOIs there are. The same call continues
    where an earlier one ended.

    Parameters
    ----------
    manifests : path or sequence of paths
        Whose images are read.
    model : path or sequence of paths
        Model folder or checkpoint; of several the mean of their logits is taken.
    out : path
        OUT folder: `<source>/labels/<layer>/` and `manifest/<layer>.parquet`. Images stay where
        they are; give both manifests to `train`.
    layer : str
        Name of the new layer.
    parents : collection of str
        Layers that the new one continues: where a VOI has several masks, the new row takes its
        measurement and parent from one of these. Default as for `train`.
    tta : bool
        Average the eight mirrored views. How far they disagree, or several models, is measured.
    jitter : int
        Predict again from so many other clicks on the found lesion, or from lines that other
        readers may draw, and measure the Dice of what they find with the mask.
    device, precision : str
        See `usable_device` and `Predictor`.
    batch_size : int
        VOIs on the device at once; halved where its memory is too small.
    compiled : bool
        Compile the network first.
    seed : int
        Random seed for the other clicks.
    workers : int
        Threads that read, and as many that measure and write.
    key_slice : str
        `replace`, `blend` or `leave`: how the mask respects what was drawn, where rows have lines
        and a 2D mask (`uls_data.network.drawn`). `auto`: `replace` by a model that is told the
        lines, `leave` by others. The rows' key-slice columns are measured before.
    image_vote : bool, optional
        Whether the jury in 3D votes beside a model that is told the lines
        (`uls_data.network.drawn`). Default: it does.
    dry_run : bool
        Only say how many VOIs there are and how many are done; nothing is touched.
    started, progress, warned : callable, optional
        Told the number of VOIs and how many were done before; 1 for each VOI; warnings.

    Raises
    ------
    ModelError, ManifestError, SourceError
        The model or the manifests cannot be used, or `out` holds another prediction of this name,
        or another process is at work on this layer there.
    """
    settings = Settings(
        tta=tta,
        jitter=jitter,
        device=device,
        precision=precision,
        batch_size=batch_size,
        compiled=compiled,
        seed=seed,
        workers=workers,
        key_slice=key_slice,
        image_vote=image_vote,
    )
    return predict_vois(
        find_vois(manifests, parents),
        model,
        Path(out),
        layer,
        settings,
        dry_run=dry_run,
        started=started,
        progress=progress,
        warned=warned,
    )


def predict_vois(
    examples: Sequence[Example],
    model: str | Path | Sequence[str | Path],
    out: Path,
    layer: str,
    settings: Settings,
    *,
    part: str | None = None,
    dry_run: bool = False,
    started: Callable[[int, int], None] | None = None,
    progress: Callable[[int], None] | None = None,
    warned: Callable[[str], None] | None = None,
) -> PredictReport:
    """Predict these VOIs; the rest as for `predict`.

    Parameters
    ----------
    part : str, optional
        Name of one of several predictions that make a layer together, each with a model of its
        own: rows are returned, but no manifest is written.
    """
    if not LAYER_NAME.fullmatch(layer):
        raise ModelError(f"layer {layer!r}: expected a name such as {LAYER}")
    check_layer(layer, out)
    where = usable_device(settings.device)
    loaded = load_model(model)
    predictor = Predictor(
        loaded,
        where,
        precision=settings.precision,
        mirror=settings.tta,
        compiled=settings.compiled,
    )
    request = {
        "model": loaded.sha256,
        "precision": predictor.precision,
        "tta": settings.tta,
        "jitter": settings.jitter,
        "seed": settings.seed,
        "key_slice": rule_of(settings.key_slice, loaded.plan),
        "image_vote": votes(settings.image_vote, loaded.plan) and JURY_3D,
        "software_version": __version__,
    }
    run = _Run(out, layer, predictor, settings, warned)
    name = layer if part is None else f"{layer}.{part}"
    lock = locked(out / "manifest" / f".{layer}.lock", f"--out {out} (layer {layer})")
    path = out / "manifest" / f".{name}.journal"
    with nullcontext() if dry_run else lock, Progress(path, request, dry=dry_run) as so_far:
        run.done = {
            example.identity: row
            for example in examples
            if (row := so_far.known(_key(example, layer), out)) is not None
        }
        resumed = len(run.done)
        if started is not None and not dry_run:
            started(len(examples), resumed)
        waiting = [e for e in examples if e.identity not in run.done and not dry_run]
        for example, row in run.rows(waiting, max(1, settings.workers)):
            so_far.add(_key(example, layer), row)
            run.done[example.identity] = row
            if progress is not None:
                progress(1)
        rows = [run.done[e.identity] for e in examples if e.identity in run.done]
        manifest = out / "manifest" / f"{layer}.parquet"
        if not dry_run:
            if part is None:
                write_manifest(rows, manifest)
            keys = [_key(example, layer) for example in examples]
            so_far.finish(zip(keys, rows, strict=True))
    return PredictReport(
        manifest=manifest,
        rows=rows,
        vois=len(examples),
        device=str(where),
        precision=predictor.precision,
        in_flight=run.in_flight,
        resumed=resumed,
        notes=loaded.notes,
    )


def _key(example: Example, layer: str) -> list[Any]:
    row = example.row
    return [*example.identity, layer, row["image_voxels_sha256"], row["label_voxels_sha256"]]


class _Run:
    def __init__(
        self,
        out: Path,
        layer: str,
        predictor: Predictor,
        settings: Settings,
        warned: Callable[[str], None] | None,
    ) -> None:
        self.out, self.layer, self.predictor = out, layer, predictor
        self.jitter, self.seed = settings.jitter, settings.seed
        self.rule: Rule = rule_of(settings.key_slice, predictor.model.plan)
        self.weighed = votes(settings.image_vote, predictor.model.plan)
        self.in_flight, self._warned = settings.batch_size, warned
        self.done: dict[tuple[Any, ...], Row] = {}
        self.model: Model = predictor.model
        self.crop: Triple = self.model.plan.crop
        # Other clicks see other parts of the VOI.
        self._margin = tuple(n // 4 if self.jitter else 0 for n in self.crop)
        self._shape: Triple = tuple(  # type: ignore[assignment]
            min(n + 2 * margin, whole)
            for n, margin, whole in zip(self.crop, self._margin, VOI_ZYX, strict=True)
        )
        lesions = self.model.record.get("lesions")
        self._seen = None if lesions is None else frozenset(lesions)

    def rows(self, examples: list[Example], workers: int) -> Iterator[tuple[Example, Row]]:
        """Rows of the examples, in their order."""
        ended_jobs: deque[tuple[Example, Future[Row]]] = deque()
        again: deque[tuple[Job, Region]] = deque()
        with (
            ThreadPoolExecutor(workers, "read") as readers,
            ThreadPoolExecutor(workers, "write") as writers,
        ):

            def finish(job: Job, answer: Answer | None) -> None:
                future = writers.submit(self._finish, job, answer)
                ended_jobs.append((job.example, future))

            def regions() -> Iterator[tuple[Job, Region]]:
                for read in read_ahead(self._read, examples, readers, 2 * workers + 2):
                    while again:
                        yield again.popleft()
                    if isinstance(read, Job):
                        yield read, read.view.region
                    else:
                        example, error = read
                        ended_jobs.append((example, writers.submit(self._failed, example, error)))

            stream: Iterable[tuple[Job, Region]] = regions()
            while True:
                for job, answer in self.predictor.answers(stream, self.in_flight, self._halved):
                    if not self.jitter:
                        finish(job, answer)
                    elif self._looked_again(job, answer, again):
                        finish(job, None)
                    # Bounded: what is found waits for what is written, not in memory.
                    while len(ended_jobs) > 2 * workers + 2:
                        yield _ended(ended_jobs)
                if not again:
                    break
                stream = [again.popleft() for _ in range(len(again))]
            while ended_jobs:
                yield _ended(ended_jobs)

    def _halved(self, limit: int) -> None:
        self.in_flight = limit
        if self._warned is not None:
            self._warned(f"out of memory: continuing with {limit} VOIs on the device at once")

    def _read(self, example: Example) -> Job | tuple[Example, CaseError]:
        try:
            job = read_job(example, self.model.plan, self._shape)
            return replace(job, weighed=self.weighed)
        except CaseError as error:
            return example, error

    def _looked_again(self, job: Job, answer: Answer, again: deque[tuple[Job, Region]]) -> bool:
        """Take an answer of a job with several views; True when it was the last."""
        spacing = _spacing(job.example.row)
        if job.found is None:
            job.take(answer, spacing)
            job.look_again(self.jitter, self.seed, self.model.plan, self._margin)
        else:
            job.compare(answer, spacing)
        if len(job.other_dice) == len(job.other_views):
            return True
        again.append((job, job.other_views[len(job.other_dice)].region))
        return False

    def _base(self, example: Example) -> Row:
        parent = example.row
        root = example.image_root or example.root
        keep = root.absolute() == self.out.absolute()
        row = derived_row(parent, self.layer, keep_image=keep)
        return row | {
            "parent_layer": parent["layer"],
            "supervision": Supervision.PSEUDO_3D.value,
            "model_sha256": self.model.sha256,
            "software_version": __version__,
            "teacher_prompt": self.model.plan.sees,
            "teacher_saw_lesion": None if self._seen is None else example.lesion in self._seen,
        }

    def _failed(self, example: Example, error: CaseError) -> Row:
        return ended(self._base(example), error.reason, error.detail)

    def _finish(self, job: Job, answer: Answer | None) -> Row:
        row = self._base(job.example)
        if answer is not None:
            job.take(answer, _spacing(row))
        found = job.found
        if found is None:
            return ended(row, Reason.EMPTY_PREDICTION, "no lesion within 5 mm of the click")
        mask = np.zeros(VOI_SHAPE, bool, order="F")
        mask.T[found.box] = found.mask
        row["predicted_dice"], row["uncertainty"] = found.soft_dice, found.entropy_bits
        row["candidate_scores"] = job.scores
        if job.view.cuts(found.box):
            row["qc_flags"] = [*row["qc_flags"], Flag.CUT_BY_VIEW.value]
        # What the network says about the key slice tells how far to trust it elsewhere.
        row |= key_slice_columns(mask, row, None if job.plane is None else job.plane.T)
        if self.rule != "leave" and job.plane is not None:
            mask.T[...] = self._respected(mask.T, job, row)
        try:
            return with_label(row, mask, self.out)
        except CaseError as error:
            return ended(row, error.reason, error.detail)

    def _respected(self, mask: NDArray[np.bool_], job: Job, row: Row) -> NDArray[np.bool_]:
        place = CENTRE_ZYX if job.view.frame is None else job.view.frame.middle
        assert job.plane is not None
        try:
            return respected(mask, job.plane, drawn_of(row), self.rule, place)
        except CaseError:  # without lines there is nothing to respect
            return mask


def _ended(waiting: deque[tuple[Example, Future[Row]]]) -> tuple[Example, Row]:
    example, future = waiting.popleft()
    return example, future.result()


def _spacing(row: Row) -> tuple[float, float, float]:
    """Spacing z, y, x in mm; 1 where it is not known."""
    x, y, z = (float(mm or 1.0) for mm in spacing_of(row))
    return z, y, x
