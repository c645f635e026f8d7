"""Teachers and students on hard made-up lesions: what each is trained on, and how it is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.hard import make_hard, make_hard_weak, write_truth
from uls_data import build, evaluate, filter, predict, train
from uls_data.ensemble import member_of, write_layer
from uls_data.manifest.example import Example
from uls_data.manifest.row import Row
from uls_data.network.examples import find_vois
from uls_data.network.inference import Settings
from uls_data.network.plan import Plan, Prompt, load_plan
from uls_data.network.prediction import predict_vois
from uls_data.scoring.volumes import VolumeEvaluation
from uls_data.tables import Record

# Keeps every mask that a filter removed: rejected ones are scored, too.
EVERYTHING = "mask_voxels > 0"


def demo_plan() -> Plan:
    """Return `small` for lesions of at most 3 cm, and for some thirty seconds."""
    plan = load_plan("small")
    training = plan.training.model_copy(
        update={
            "epochs": 7,
            "fine_tune_epochs": 5,
            "steps_per_epoch": 20,
            "learning_rate": 0.02,
            "fine_tune_factor": 0.5,
            "validate_every": 100,
        }
    )
    return plan.model_copy(update={"name": "demo", "crop": (16, 48, 48), "training": training})


def prompted(plan: Plan) -> Plan:
    """Return a plan for a teacher that is told the lines, with as many voxels to look at."""
    prompt = Prompt(channels=("radius", "key", "lines", "ends", "likeness"))
    told = {"name": f"{plan.name}-prompted", "prompt": prompt}
    return plan.model_copy(update={**told, "crop": plan.network_shape, "pool": (1, 1, 1)})


@dataclass(frozen=True)
class Trial:
    """Measured lesions, lesions with full masks, and networks on a CPU.

    Attributes
    ----------
    folder : Path
        `raw`, `weak`, `full`, `truth`, and what networks make.
    seed : int
        Of the archives and of all trainings.
    """

    folder: Path
    seed: int
    workers: int
    say: Callable[[str], None]

    @property
    def weak(self) -> Path:
        """OUT of the measured lesions."""
        return self.folder / "weak"

    @property
    def full(self) -> Path:
        """OUT of the lesions with full masks, some of them held out."""
        return self.folder / "full"

    def make(self, train: int, heldout: int, weak: int, masks: Sequence[str] = ()) -> None:
        """Make and build two archives of so many patients, and the truth of the weak lesions."""
        raw, seed = self.folder / "raw", self.seed
        make_hard(raw / "hard", seed, train, heldout)
        make_hard_weak(raw / "weak", seed, weak)
        recipe = str(raw / "hard" / "hard.yaml")
        build(recipe, raw / "hard", self.full, workers=self.workers)
        build("deeplesion", raw / "weak", self.weak, workers=self.workers, masks=masks)
        manifest = self.weak / "manifest" / "deeplesion.parquet"
        write_truth(manifest, self.folder / "truth", seed, weak)

    def network(
        self, name: str, plan: Plan, layer: str, masks: Sequence[Path] = (), seed: int = 0
    ) -> Path:
        """Network that is pre-trained on a layer of masks and fine-tuned on full masks.

        Parameters
        ----------
        masks : sequence of Path
            Manifests of the layer, beside that of the measured lesions.
        """
        common: dict[str, Any] = {"device": "cpu", "seed": seed, "workers": self.workers}
        folder = self.folder / "networks" / name
        self.say(f"  {name}: pre-train on {layer}")
        first = train(
            [self.weak, *masks], folder / "pretrained", plan=plan, layers=[layer], **common
        )
        self.say(f"  {name}: fine-tune on full masks")
        return train(self.full, folder / "model", init=first.model, **common).model

    def told(self, name: str, plan: Plan, seed: int = 0) -> Path:
        """Network that is told the lines, trained on full masks alone, for as many steps.

        As `selftrain` trains such a teacher: it is told the 2D masks of measured lesions, so there
        is nothing else for it to learn from them.
        """
        self.say(f"  {name}: train on full masks")
        training = plan.training
        return train(
            self.full,
            self.folder / "networks" / name / "model",
            plan=plan,
            epochs=training.epochs + training.fine_tune_epochs,
            device="cpu",
            seed=seed,
            workers=self.workers,
        ).model

    def teach(self, model: Path, layer: str) -> tuple[Path, VolumeEvaluation]:
        """Masks of a teacher: the manifest with those that are kept, and the scores of all."""
        out = self.folder / "masks"
        made = predict(
            self.weak,
            model,
            out,
            layer=layer,
            parents=["jury"],
            device="cpu",
            workers=self.workers,
        )
        kept = out / f"{layer}-kept.parquet"
        filter(made.manifest, kept)
        return kept, self.judge(made.manifest)

    def followed(self, member: str) -> VolumeEvaluation:
        """Scores of the masks that a member of an ensemble makes."""
        return self.judge(write_layer(self.weak, member_of(member), self.folder / "masks"))

    def judge(self, manifest: Path) -> VolumeEvaluation:
        """Scores of masks of the measured lesions, rejected ones too."""
        # Not beside its like: an OUT folder holds each layer once.
        whole = manifest.parent.parent / f"{manifest.stem}-unfiltered.parquet"
        filter(manifest, whole, rule=EVERYTHING)
        return evaluate(whole, self.folder / "truth")

    def heldout(self) -> list[Row]:
        """Rows of the held-out lesions."""
        return [one.row for one in self._heldout()]

    def _heldout(self) -> list[Example]:
        return [one for one in find_vois(self.full) if one.row["split"] == "heldout"]

    def examine(self, model: Path, name: str) -> list[Record]:
        """Scores of a student on held-out lesions."""
        vois = self._heldout()
        settings = Settings(device="cpu", workers=self.workers)
        made = predict_vois(vois, model, self.folder / "examined" / name, "examined", settings)
        names = {str(one.row["voi_id"]) for one in vois}
        return evaluate(made.manifest, self.full, vois=names).rows
