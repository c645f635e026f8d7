"""`selftrain`: the paper's Figure 3, any number of rounds, each generation a layer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from uls_data.errors import ManifestError
from uls_data.filtering import filter
from uls_data.ids import draw
from uls_data.io import write_bytes
from uls_data.io.lock import LOCK, locked
from uls_data.loop.rounds import LoopReport, Round
from uls_data.loop.stage import Stage, Told
from uls_data.manifest.parquet import write_manifest
from uls_data.manifest.patients import patient_groups, patient_key
from uls_data.network.device import Precision
from uls_data.network.examples import find_vois, heldout_patients
from uls_data.network.inference import Rule, Settings
from uls_data.network.plan import ModelError, Plan, as_plan
from uls_data.network.prediction import predict_vois
from uls_data.network.prediction_report import PredictReport
from uls_data.network.training import train
from uls_data.network.voxels import Weak
from uls_data.outcome import Supervision
from uls_data.scoring.comparison import compare
from uls_data.scoring.volumes import VolumeEvaluation, evaluate, evaluate_ellipsoids


def selftrain(
    weak: str | Path,
    full: str | Path,
    out: str | Path,
    *,
    rounds: int = 2,
    cross_fit: int = 0,
    plan: str | Path | Plan | None = None,
    teacher: str | Path | Plan | None = None,
    parents: tuple[str, ...] = (),
    weak_slices: Weak = "ignore",
    rule: str | None = None,
    max_axis_error_vox: float | None = None,
    certificate: str | Path | None = None,
    tta: bool = False,
    jitter: int = 0,
    key_slice: Rule = "auto",
    image_vote: bool | None = None,
    include_heldout: bool = False,
    device: str = "auto",
    precision: Precision = "auto",
    batch_size: int = 2,
    seed: int = 0,
    workers: int = 2,
    stage: Callable[[str], Stage | None] | None = None,
) -> LoopReport:
    """Pre-train on weak lesions, fine-tune on full masks, predict, filter, again.

    Round 1 pre-trains a network on the 2D masks, each later round a new one on the masks that the
    round before kept (paper section 4.1, Figure 3; it has two networks). A teacher that is told
    the lines is told the 2D masks too, and would learn nothing else from them: in round 1 it
    trains on full masks alone, for as many epochs as both trainings. The same call continues
    wherever an earlier one ended, after `kill -9` too, to the same files (on a CPU).

    OUT holds `manifest/pseudo3d-rN.parquet` and the labels of each round, `round-N/` with its
    networks, and `loop.json`.

    Parameters
    ----------
    weak : path
        Manifest or OUT folder of measured lesions with 2D masks.
    full : path
        Manifest or OUT folder of lesions with full masks. Held-out patients of either never
        train; the network of each round is scored on those of `full`.
    rounds : int
    cross_fit : int
        Patients are dealt into so many folds (2 or more), and a fold is predicted by a teacher
        that saw none of its patients; 0: one teacher sees all. The last network sees all folds.
    plan : name, path or Plan, optional
        As for `train`; its `fine_tune_epochs` are those of fine-tuning.
    teacher : name, path or Plan, optional
        Plan of the networks that make masks, such as `prompted`. A student by `plan` is then
        trained on the masks that the last round kept.
    parents : tuple of str
        Layers of `weak` to pre-train on, which the masks of every round continue; default
        `jury`, or the only one.
    weak_slices : str
        What slices without annotation are: `ignore` or `background`.
    rule, max_axis_error_vox, certificate
        As for `filter`. A certificate speaks of masks of the models that it was made with: the
        report warns where a round has others, or its lesions look unlike the calibration.
    include_heldout : bool
        As the paper's final training.
    tta, jitter, key_slice, image_vote, device, precision, batch_size, seed, workers
        As for `train` and `predict`.
    stage : callable, optional
        Called with the name of each stage; what it returns is told about progress.

    Raises
    ------
    ModelError, ManifestError
        Something cannot be used, nothing was kept, or OUT holds another loop.
    SourceError
        Another process works there.
    """
    if rounds < 1:
        raise ModelError(f"rounds: expected 1 or more, found {rounds}")
    if cross_fit < 0 or cross_fit == 1:
        raise ModelError(f"cross-fit: expected 2 folds or more, or 0, found {cross_fit}")
    training = {
        "device": device,
        "include_heldout": include_heldout,
        "weak": weak_slices,
        "workers": workers,
    }
    prediction = Settings(
        tta=tta,
        jitter=jitter,
        device=device,
        precision=precision,
        batch_size=batch_size,
        seed=seed,
        workers=workers,
        key_slice=key_slice,
        image_vote=image_vote,
    )
    chosen: dict[str, Any] = {"rule": rule, "max_axis_error_vox": max_axis_error_vox}
    if certificate is not None:
        chosen |= {"certificate": certificate, "beside": (weak,)}
    loop = _Loop(
        Path(weak),
        Path(full),
        Path(out),
        parents,
        seed,
        as_plan(plan or "baseline"),
        None if teacher is None else as_plan(teacher),
        training,
        prediction,
        stage,
    )
    loop.deal(cross_fit)
    with locked(loop.out / LOCK, f"--out {out}"):
        return loop.run(rounds, parents, chosen)


class _Loop:
    def __init__(
        self,
        weak: Path,
        full: Path,
        out: Path,
        parents: tuple[str, ...],
        seed: int,
        plan: Plan,
        teacher: Plan | None,
        training: dict[str, Any],
        prediction: Settings,
        stage: Callable[[str], Stage | None] | None,
    ) -> None:
        self.weak, self.full, self.out = weak, full, out
        self.seed, self.training, self.prediction = seed, training, prediction
        self.plan, self.teacher = plan, teacher
        self.stage = stage or (lambda _name: None)
        self.failed: list[dict[str, str]] = []
        self.parents = parents
        rows = [example.row for example in find_vois(full)]
        weak_rows = [example.row for example in find_vois(weak, parents)]
        # A patient held out in one manifest is held out in the other.
        held = heldout_patients() | {
            patient_key(row) for row in (*rows, *weak_rows) if row["split"] == "heldout"
        }
        self.heldout = {str(row["voi_id"]) for row in rows if patient_key(row) in held}
        self.left_out = set() if training["include_heldout"] else set(held)
        self.held = set(held)
        self.group_of = patient_groups([*rows, *weak_rows])
        self.full_patients = {patient_key(row) for row in rows}
        self.weak_patients = {patient_key(row) for row in weak_rows} - self.full_patients
        self.flat = all(row["supervision"] == Supervision.WEAK_2D.value for row in weak_rows)
        self.folds: list[set[str]] = []

    def deal(self, folds: int) -> None:
        """Deal patients into folds of equal size, by who they are; who share a scan share one."""
        self.folds = [set() for _ in range(folds)]
        dealt: dict[str, int] = {}
        for patients in (self.full_patients, self.weak_patients) if folds else ():
            shuffled = sorted(patients, key=lambda who: draw(1 << 64, self.seed, "fold", who))
            before = len(dealt)
            for patient in shuffled:
                fold = dealt.setdefault(self.group_of[patient], (len(dealt) - before) % folds)
                self.folds[fold].add(patient)

    def run(self, rounds: int, layers: tuple[str, ...], chosen: dict[str, Any]) -> LoopReport:
        """Do all rounds."""
        done: list[Round] = []
        before: VolumeEvaluation | None = None
        base: list[Path] = [self.weak]
        model = self.out
        for number in range(1, rounds + 1):
            last = number == rounds
            made, before, model = self._round(number, base, layers, chosen, before, last=last)
            done.append(made)
            write_bytes(self.out / "loop.json", _document(done, model, self.out))
            if not made.filtered.kept and not last:
                raise ManifestError(
                    f"round {number}: the filter kept none of {made.predicted['ok']} masks; "
                    f"see {self.out / 'manifest'}, train longer or take another --rule"
                )
            base = [self.weak, self.out / "manifest" / f"{made.layer}.parquet"]
            layers = (made.layer,)
        if self.teacher is None:
            return LoopReport(done, model, self.failed)
        model = self._network("student", self.plan, base, layers, set())
        scored = self._score("student", model)
        student = [] if scored is None else [*scored.summary("lesion_type"), *scored.summary()]
        write_bytes(self.out / "loop.json", _document(done, model, self.out, student))
        return LoopReport(done, model, self.failed, student)

    def _round(
        self,
        number: int,
        base: list[Path],
        layers: tuple[str, ...],
        chosen: dict[str, Any],
        before: VolumeEvaluation | None,
        *,
        last: bool,
    ) -> tuple[Round, VolumeEvaluation | None, Path]:
        layer = f"pseudo3d-r{number}"
        names = [f"fold-{n}" for n in range(len(self.folds))] or ["all"]
        plan = self.teacher or self.plan
        models = [
            self._network(f"round-{number}/{name}", plan, base, layers, fold)
            for name, fold in zip(names, self.folds or [set()], strict=True)
        ]
        rows = []
        everybody: list[set[str] | None] = [None]
        for name, model, fold in zip(names, models, self.folds or everybody, strict=True):
            report = self._predict(f"round {number}, predict {name}", model, layer, name, fold)
            rows += report.rows
        manifest = self.out / "manifest" / f"{layer}.parquet"
        write_manifest(rows, manifest)
        judged = filter(manifest, manifest, **chosen)
        self.failed += [
            {name: str(row[name]) for name in ("voi_id", "layer", "reason", "detail")}
            for row in rows
            if row["status"] == "failed"
        ]
        statuses = [row["status"] for row in rows]
        made = Round(
            number,
            models,
            layer,
            plan.sees,
            {status: statuses.count(status) for status in ("ok", "skipped", "failed")},
            sum(bool(row["teacher_saw_lesion"]) for row in rows if row["status"] == "ok"),
            judged,
        )
        scored = None
        if plan.prompt is None:
            scored = self._score(f"round-{number}", models[0])
        if scored is not None:
            made.heldout = [*scored.summary("lesion_type"), *scored.summary()]
            if before is not None:
                (made.gain,) = compare(scored.rows, before.rows)
            (made.beside_ellipsoid,) = compare(scored.rows, self.ellipsoids.rows)
        model = models[0]
        if last and self.folds and self.teacher is None:
            model = self._network(f"round-{number}/all", plan, base, layers, set())
        return made, scored, model

    def _network(
        self, name: str, plan: Plan, base: list[Path], layers: tuple[str, ...], fold: set[str]
    ) -> Path:
        """Train a network that sees nobody of a fold: on weak lesions, then on full masks."""
        folder = self.out / name
        common = {**self.training, "leave_out": fold | self.left_out}
        title = name.replace("round-", "round ").replace("/", ", ")
        seed = draw(1 << 31, self.seed, *_identity(name))
        if plan.prompt is not None and self.flat and base == [self.weak]:
            told = Told(self.stage(f"{title}: train"))
            alone = train(
                self.full,
                folder / "model",
                plan=plan,
                epochs=plan.training.epochs + plan.training.fine_tune_epochs,
                seed=seed,
                **told.steps(),
                **common,
            )
            told.end()
            self.failed += alone.failed
            return alone.model
        told = Told(self.stage(f"{title}: pre-train"))
        pretrained = train(
            base,
            folder / "pretrained",
            plan=plan,
            layers=layers,
            seed=seed,
            **told.steps(),
            **common,
        )
        told.end()
        told = Told(self.stage(f"{title}: fine-tune"))
        tuned = train(
            self.full,
            folder / "model",
            init=pretrained.model,
            seed=seed,
            **told.steps(),
            **common,
        )
        told.end()
        self.failed += [*pretrained.failed, *tuned.failed]
        return tuned.model

    def _predict(
        self, title: str, model: Path, layer: str, part: str, patients: set[str] | None
    ) -> PredictReport:
        told = Told(self.stage(title))
        vois = find_vois(self.weak, self.parents)
        if patients is not None:
            vois = [example for example in vois if patient_key(example.row) in patients]
        report = predict_vois(
            vois, model, self.out, layer, self.prediction, part=part, **told.vois()
        )
        told.end()
        return report

    @cached_property
    def ellipsoids(self) -> VolumeEvaluation:
        """Scores of ellipsoids of lines across the held-out lesions."""
        return evaluate_ellipsoids(self.full, vois=self.heldout)

    def _score(self, name: str, model: Path) -> VolumeEvaluation | None:
        """Scores of held-out lesions with full masks."""
        if not self.heldout or self.training["include_heldout"]:
            return None
        folder = self.out / name / "heldout"
        told = Told(self.stage(f"{name.replace('-', ' ')}, score held-out lesions"))
        vois = [e for e in find_vois(self.full) if patient_key(e.row) in self.held]
        settings = replace(self.prediction, jitter=0)
        report = predict_vois(vois, model, folder, "heldout", settings, **told.vois())
        told.end()
        if not report.counts["ok"]:
            return None
        return evaluate(report.manifest, self.full, vois=self.heldout)


def _identity(name: str) -> tuple[str | int, ...]:
    """Return what the seed of a network depends on, beside that of the loop."""
    about, _, rest = name.partition("/")
    return ("round", int(about.removeprefix("round-")), rest) if rest else (about,)


def _document(
    rounds: list[Round], model: Path, out: Path, student: list[dict[str, Any]] | None = None
) -> bytes:
    """Return the rounds as JSON, with paths relative to OUT."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return value.relative_to(out).as_posix()
        raise TypeError(type(value).__name__)

    content = {"rounds": [asdict(made) for made in rounds], "model": model}
    if student is not None:
        content["student"] = student
    return (json.dumps(content, indent=1, default=plain, sort_keys=True) + "\n").encode()
