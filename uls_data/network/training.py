"""`train`: a network from manifests; resumed from a checkpoint, it ends with the same weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean
from typing import Any

from uls_data._version import __version__
from uls_data.errors import CaseError, ManifestError, UlsDataError
from uls_data.ids import hash_of
from uls_data.io import remove_temporaries
from uls_data.io.lock import LOCK, locked
from uls_data.manifest.example import Example
from uls_data.manifest.patients import patient_key
from uls_data.network.ancestry import Given
from uls_data.network.checkpoint import (
    FINAL,
    LATEST,
    OURS,
    Model,
    load_model,
    nnunet_checkpoint,
    read_checkpoint,
    write_checkpoint,
    write_model_files,
)
from uls_data.network.curves import Board, write_curves
from uls_data.network.device import Precision, training_precision, usable_device
from uls_data.network.examples import Examples, find_examples, split_by
from uls_data.network.learner import Learner
from uls_data.network.plan import Intensities, ModelError, Plan, as_plan
from uls_data.network.sampling import Sampler, read_ahead
from uls_data.network.training_report import TrainReport
from uls_data.network.validation import heldout_dice
from uls_data.network.voxels import WEAK, Fingerprint, Region, Weak, read_region

_FOLD = "fold_0"


def train(
    manifests: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    plan: str | Path | Plan | None = None,
    init: str | Path | None = None,
    device: str = "auto",
    include_heldout: bool = False,
    layers: Collection[str] = (),
    leave_out: Collection[str] = (),
    weak: Weak = "ignore",
    epochs: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    workers: int = 2,
    precision: Precision = "auto",
    dry_run: bool = False,
    started: Callable[[int, int], None] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> TrainReport:
    """Train a network on the VOIs of manifests.

    The same call again continues from the last checkpoint; on a CPU, with as many threads, it
    comes to the weights of an undisturbed training.

    Parameters
    ----------
    plan : name, path or Plan, optional
        `baseline` (default), `small` or a file. With `init` only its training part counts:
        network and normalisation are the checkpoint's.
    init : path, optional
        Model folder or checkpoint to start from; the learning rate is then multiplied by the
        plan's `fine_tune_factor`.
    device : str
        `auto`, `cpu` or `cuda`.
    include_heldout, layers, leave_out
        See `find_examples`. Training on held-out patients is on record in the checkpoint.
    weak : str
        What slices without annotation are: see `read_region`.
    epochs, steps : int, optional
        Instead of the plan's length; not both.
    workers : int
        Threads that read ahead.
    precision : str
        `auto` (float32 on a CPU), `float32`, `bfloat16` or `float16` (GPU only). On a CPU that
        multiplies bfloat16 matrices (AMX), `bfloat16` halves the time of a step.
    dry_run : bool
        Only say what would be trained; nothing is touched.
    started : callable, optional
        Told the number of steps, and how many were done before.
    progress : callable, optional
        Told 1 step and its loss, after each.

    Raises
    ------
    ModelError, ManifestError
        A plan, checkpoint or manifest cannot be used, or `out` holds another training.
    SourceError
        Another process trains there.
    """
    if weak not in WEAK:
        raise ModelError(f"weak {weak!r}: expected one of {', '.join(WEAK)}")
    start = load_model(init) if init is not None else None
    if start is not None and len(start.networks) > 1:
        raise ModelError(f"{init}: holds several folds; start from one checkpoint file of them")
    chosen = _plan(plan, start)
    found = find_examples(
        manifests, layers=layers, include_heldout=include_heldout, leave_out=leave_out
    )
    total = _steps(chosen, epochs, steps, start is not None)
    record = {
        "seed": seed,
        "weak": weak,
        "steps": total,
        "init_sha256": start.sha256 if start is not None else None,
        "include_heldout": include_heldout,
        **_seen(found, start),
    }
    where = usable_device(device)
    numbers = training_precision(precision, where)
    if numbers != training_precision("auto", where):
        record["precision"] = numbers
    record["request"] = hash_of(
        [
            chosen.model_dump_json(exclude={"prompt"} if chosen.prompt is None else None),
            repr(sorted(record.items())),
        ]
        + [repr((e.identity, e.row)) for e in (*found.train, *found.heldout)]
    )
    record["software_version"] = __version__
    given = Given(manifests, found, layers, init)
    run = _Run(Path(out), chosen, start, found, record, given, where)
    if dry_run:
        run.resume()
        return run.report()
    reading = ThreadPoolExecutor(max(1, workers), "read")
    with locked(run.folder / LOCK, f"--out {out}"), reading as pool:
        remove_temporaries(run.folder / _FOLD)
        return run.finish(pool, started, progress)


def _plan(plan: str | Path | Plan | None, start: Model | None) -> Plan:
    if start is not None and plan is None:
        return start.plan
    chosen = as_plan(plan or "baseline")
    if start is None:
        return chosen
    for name in ("architecture", "crop", "pool", "prompt"):
        if getattr(chosen, name) != getattr(start.plan, name):
            raise ModelError(
                f"plan {chosen.name}: {name} differs from that of the checkpoint to start from; "
                "leave --plan out or copy the checkpoint's plan.yaml"
            )
    return start.plan.model_copy(update={"name": chosen.name, "training": chosen.training})


def _steps(plan: Plan, epochs: int | None, steps: int | None, fine_tune: bool) -> int:
    if steps is not None and epochs is not None:
        raise ModelError("epochs or steps, not both")
    training = plan.training
    if steps is None:
        usual = training.fine_tune_epochs if fine_tune else training.epochs
        steps = (usual if epochs is None else epochs) * training.steps_per_epoch
    if steps < 1:
        raise ModelError(f"steps: expected at least 1, found {steps}")
    return steps


def _seen(found: Examples, start: Model | None) -> dict[str, Any]:
    """Lesions and patients behind the weights, the ones of the model before included."""
    before = start.record if start is not None else {}
    lesions = {example.lesion for example in found.train} | set(before.get("lesions", ()))
    patients = {patient_key(e.row) for e in found.train} | set(before.get("patients", ()))
    unknown = start is not None and not before
    held = {patient_key(example.row) for example in found.heldout}
    return {
        "lesions": sorted(lesions),
        "patients": sorted(patients),
        "heldout_seen": None
        if unknown
        else bool(before.get("heldout_seen")) or bool(held & patients),
    }


class _Run:
    """One training, from its checkpoint or its beginning to its end."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        start: Model | None,
        found: Examples,
        record: dict[str, Any],
        given: Given,
        device: Any,
    ) -> None:
        self.folder, self.plan, self.start, self.found = folder, plan, start, found
        self.record, self.given, self.device = record, given, device
        self.step, self.done, self.total = 0, 0, int(record["steps"])
        self.epochs: list[dict[str, Any]] = []
        self.validations: list[dict[str, Any]] = []
        self.failed: list[dict[str, str]] = []

    def finish(
        self,
        pool: ThreadPoolExecutor,
        started: Callable[[int, int], None] | None,
        progress: Callable[[int, float], None] | None,
    ) -> TrainReport:
        """Do what is left to do."""
        last = self.resume()
        if started is not None:
            started(self.total, self.step)
        if self.step < self.total:
            self._prepare(pool, last)
            del last
            sha256 = self.given.write(self.folder / _FOLD, self.plan, self.record)
            self.record["passport_sha256"] = sha256
            self._loop(pool, progress)
        return self.report()

    def report(self) -> TrainReport:
        """Tell what there is so far."""
        end = [row for row in self.validations if row["step"] == self.total]
        return TrainReport(
            model=self.folder,
            checkpoint=self.folder / _FOLD / FINAL,
            plan=self.plan,
            steps=self.total,
            done=self.done,
            types=split_by(self.found.train, lambda example: example.row["lesion_type"]),
            trained=len(self.found.train),
            heldout=len(self.found.heldout),
            left_out=dict(self.found.left_out),
            validation=end,
            failed=self.failed,
        )

    def resume(self) -> dict[str, Any] | None:
        """Return the last checkpoint of this training, after taking its counters over."""
        for name in (FINAL, LATEST):
            path = self.folder / _FOLD / name
            if not path.is_file():
                continue
            last = read_checkpoint(path)
            before = last.get(OURS) or {}
            if before.get("request") != self.record["request"]:
                raise ModelError(
                    f"{self.folder} holds another training (other rows, plan, seed, start or "
                    "length); give another --out"
                )
            self.plan = Plan.model_validate(before["plan"])
            self.step = self.done = int(before["step"])
            self.epochs, self.validations = list(before["epochs"]), list(before["validations"])
            self.failed = list(before["failed"])
            return last
        return None

    def _prepare(self, pool: ThreadPoolExecutor, last: dict[str, Any] | None) -> None:
        if self.plan.intensities == "fingerprint":
            self.plan = self.plan.model_copy(update={"intensities": self._measured(pool)})
        training = self.plan.training
        rate = training.learning_rate
        weights = None
        if self.start is not None:
            rate *= training.fine_tune_factor
            weights = self.start.networks[0].state_dict()
        if last is not None:
            weights = last["network_weights"]
        seed = int(self.record["seed"])
        self.learner = Learner(
            self.plan,
            self.device,
            seed,
            self.total,
            rate,
            weights,
            self.record.get("precision", "auto"),
        )
        if last is not None:
            self.learner.resume(last)
        write_model_files(self.folder, self.plan, len(self.found.train))

    def _measured(self, pool: ThreadPoolExecutor) -> Intensities:
        """Intensities of the training lesions, and notes which of them cannot be read."""

        def read(example: Example) -> Region | CaseError:
            try:
                return read_region(example, "ignore")
            except CaseError as error:
                return error

        fingerprint = Fingerprint()
        regions = read_ahead(read, self.found.train, pool, 4)
        for example, region in zip(self.found.train, regions, strict=True):
            if isinstance(region, CaseError):
                self._fail(example, region)
            else:
                fingerprint.add(region)
        if len(self.failed) == len(self.found.train):
            first = self.failed[0]
            raise ManifestError(
                f"none of the {len(self.failed)} VOIs to train on can be read; the first: "
                f"{first['voi_id']}: {first['reason']}: {first['detail']}"
            )
        return fingerprint.intensities()

    def _fail(self, example: Example, error: CaseError) -> None:
        row = {"voi_id": str(example.row["voi_id"]), "layer": str(example.row["layer"])}
        row |= {"reason": str(error.reason), "detail": error.detail}
        if row not in self.failed:
            self.failed.append(row)

    def _loop(
        self, pool: ThreadPoolExecutor, progress: Callable[[int, float], None] | None
    ) -> None:
        training = self.plan.training
        weak: Weak = self.record["weak"]
        sampler = Sampler(self.found.train, self.plan, int(self.record["seed"]), weak)
        board = Board(self.folder, self.step)
        losses: list[float] = []
        began = time.monotonic()
        try:
            for batch in sampler.batches(self.step, self.total, pool):
                losses.append(self.learner.learn(batch, self.step))
                self.step += 1
                if progress is not None:
                    progress(1, losses[-1])
                # A checkpoint is at the end of an epoch, so what an epoch adds up need not be kept.
                if self.step % training.steps_per_epoch and self.step < self.total:
                    continue
                for index, error in sorted(sampler.failed.items()):
                    self._fail(self.found.train[index], error)
                self._end_epoch(losses, time.monotonic() - began, pool, board)
                losses, began = [], time.monotonic()
        finally:
            board.close()

    def _end_epoch(
        self, losses: list[float], seconds: float, pool: ThreadPoolExecutor, board: Board
    ) -> None:
        training = self.plan.training
        number = -(-self.step // training.steps_per_epoch)
        last = self.step == self.total
        loss = fmean(losses)
        at = {"epoch": number, "step": self.step}
        rate = float(self.learner.optimizer.param_groups[0]["lr"])
        self.epochs.append({**at, "learning_rate": rate, "loss": loss, "seconds": seconds})
        board.add("loss", loss, self.step)
        board.add("learning_rate", rate, self.step)
        if self.found.heldout and (last or number % training.validate_every == 0):
            learner, examples = self.learner, self.found.heldout
            rows = heldout_dice(
                learner.network, self.plan, learner.intensities, examples, self.device, pool
            )
            self.validations += [{**at, **row} for row in rows]
            for row in rows:
                board.add(f"heldout_dice/{row['lesion_type']}", row["dice"], self.step)
        write_curves(self.folder, self.epochs, self.validations)
        if last or number % training.checkpoint_every == 0:
            self._save(number, FINAL if last else LATEST)

    def _save(self, epoch: int, name: str) -> None:
        # The checkpoint's hash stands in every row that it predicts, so no clock belongs in it.
        epochs = [{k: v for k, v in row.items() if k != "seconds"} for row in self.epochs]
        done = {"epochs": epochs, "validations": self.validations, "failed": self.failed}
        record = {**self.record, "step": self.step, **done}
        learner, path = self.learner, self.folder / _FOLD / name
        try:
            write_checkpoint(
                path,
                nnunet_checkpoint(
                    self.plan, learner.network, learner.optimizer, learner.scaler, epoch, record
                ),
            )
        except OSError as error:
            raise UlsDataError(
                f"{path}: cannot write: {error.strerror}. Fix this and run the same command again"
            ) from error
        if name == FINAL:
            path.with_name(LATEST).unlink(missing_ok=True)
