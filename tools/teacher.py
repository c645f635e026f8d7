"""What a teacher that is told the lines is worth on real CT: the sarcomas of the IBSI set.

Odd-numbered patients train, even-numbered ones are scored; lines are drawn from the masks of the
even ones on their longest slice, as they are and with noise on the end points (5 % of the axis).
The data are public (github.com/theibsi/data_sets, `ibsi_validation/nifti`, CC BY 3.0); a folder
per patient holds `CT_image.nii.gz` and `CT_mask.nii.gz`.

    python -m tools.teacher build DATA --to OUT
    python -m tools.teacher train --to OUT --plan prompted --steps 1000 --device auto
    python -m tools.teacher score --to OUT --plan prompted
    python -m tools.teacher score --to OUT --name seed0+seed1    # two models, averaged
    python -m tools.teacher score --to OUT --member jury_3d

Models are independent of each other: train on another machine, bring OUT/models/ back, score.
With `build --made-up 160` there are made-up lesions too (`tools/madeup.py`), and `train --made-up`
learns from both; `--init OUT/models/seed0` starts from another training. `train --all` learns
from the even-numbered patients too, for scores on other sets (`tools/elsewhere.py`).
`build --also FOLDER` builds lesions of other organs, `FOLDER/ORGAN/CASE/{image,mask}.nii.gz`,
ORGAN a lesion type, and `train --also` learns from them too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from tools import madeup
from uls_data import build, evaluate, predict, train
from uls_data.ensemble import member_of, write_layer
from uls_data.errors import CaseError
from uls_data.ids import draw
from uls_data.manifest.derived import derived_row, with_label
from uls_data.manifest.example import Example, read_examples
from uls_data.manifest.parquet import write_manifest
from uls_data.network.plan import Plan, load_plan
from uls_data.network.prompt import Drawn, longest, simulated, spacing_needed
from uls_data.network.voxels import read_image, read_mask
from uls_data.outcome import Status, Supervision
from uls_data.pseudomask.key_slice import KeySlice
from uls_data.pseudomask.methods import pseudo_mask

RECIPE = """\
schema_version: 1
source: sts
recipe_version: 1
title: Soft-tissue sarcomas of the IBSI set, cropped about the tumour
licence:
  name: CC BY 3.0
  redistributable: true
  evidence: README of the data set
citation: 10.7937/K9/TCIA.2015.7GO2GSKS
access:
  - github.com/theibsi/data_sets
reader:
  name: volume_pairs
  layouts:
    - name: nifti
      image: "{case}/CT_image.nii.gz"
      mask: "{case}/CT_mask.nii.gz"
  patient: "(.*)"
instances: {rule: components, values: [1], connectivity: 6, keep: largest}
minimum_size: {measure: inertia_major_vox, at_least: 5}
lesion_type: soft_tissue
voi_name: "{case}_lesion_{lesion:02d}_sample_{sample}"
quirks: []
heldout_patients: [HELDOUT]
"""
# Noise on the end points, and how often it is drawn.
LINES = {"clean": (0.0, 1), "5%": (0.05, 2), "15%": (0.15, 2)}
LAYER = "jury"


def recipe_of(source: str, image: str, mask: str, lesion_type: str) -> str:
    """Recipe of another source of pairs, nobody held out."""
    return (
        RECIPE.replace("source: sts", f"source: {source}")
        .replace("{case}/CT_image.nii.gz", image)
        .replace("{case}/CT_mask.nii.gz", mask)
        .replace("lesion_type: soft_tissue", f"lesion_type: {lesion_type}")
        .replace("HELDOUT", "")
    )


def make(data: Path, out: Path, workers: int) -> None:
    """Build the VOIs, and the even patients' rows as a reader would have measured them."""
    cases = sorted(path.name for path in data.iterdir() if (path / "CT_mask.nii.gz").is_file())
    held = [case for case in cases if int(case.split("_")[-1]) % 2 == 0]
    recipe = out / "sts.yaml"
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(RECIPE.replace("HELDOUT", ", ".join(held)))
    report = build(str(recipe), data, out / "full", workers=workers)
    print(report)
    rows = [e for e in read_examples(out / "full") if e.row["status"] == Status.OK]
    for name, (share, draws) in LINES.items():
        for k in range(draws):
            measured(
                [e for e in rows if e.row["patient_id"] in held], out / _folder(name, k), share, k
            )


def make_up(out: Path, count: int, workers: int) -> None:
    """Build the VOIs of made-up lesions."""
    madeup.write(out / "made-up", count)
    # Types are drawn nearly alike: these must not be taken for sarcomas.
    recipe = recipe_of("made_up", "images/{case}.nii.gz", "masks/{case}.nii.gz", "liver")
    path = out / "made-up.yaml"
    path.write_text(recipe)
    print(build(str(path), out / "made-up", out / "made-up-full", workers=workers))


def make_also(folder: Path, out: Path, workers: int) -> None:
    """Build the VOIs of lesions of other organs, each one of a mask's pieces."""
    for organ in sorted(path for path in folder.iterdir() if path.is_dir()):
        text = recipe_of(
            f"also_{organ.name}", "{case}/image.nii.gz", "{case}/mask.nii.gz", organ.name
        )
        path = out / f"also-{organ.name}.yaml"
        path.write_text(text.replace(", keep: largest", ""))
        print(build(str(path), organ, out / "also-full", workers=workers))


def _folder(name: str, k: int) -> str:
    return f"weak-{name.replace('%', '')}-{k}"


def measured(examples: list[Example], out: Path, share: float, k: int) -> None:
    """Write rows with lines and the jury's mask of them."""
    rows = []
    for example in examples:
        spacing = spacing_needed(example.row)
        lesion = read_mask(example)
        drawn = longest(simulated(lesion, spacing))
        random = np.random.default_rng(draw(1 << 53, example.identity[1], k))
        drawn = drawn.redrawn(random, share)
        rows.append(_row(example, drawn, out))
    write_manifest(rows, out / "manifest" / "lines.parquet")


def _row(example: Example, drawn: Drawn, out: Path) -> Any:
    hu = read_image(example).hu[drawn.slice_vox].T
    inside = drawn.lines.clipped((hu.shape[0], hu.shape[1]))
    made = pseudo_mask(LAYER, KeySlice(hu, inside, drawn.spacing_mm[:2]))
    row = derived_row(example.row, LAYER, keep_image=False) | {
        "supervision": Supervision.WEAK_2D.value,
        "key_slice_voi": drawn.slice_vox,
        "recist_points_vox": drawn.lines.points.ravel().tolist(),
        "recist_long_vox": drawn.lines.long_vox,
        "recist_short_vox": drawn.lines.short_vox,
        "predicted_dice": made.predicted_dice,
    }
    mask = np.zeros((*hu.shape, 128), bool, order="F")
    mask[:, :, drawn.slice_vox] = made.mask
    return with_label(row, mask, out)


def plan_of(name: str) -> Plan:
    """Shipped plan or file; `click` is `prompted` without lines, on 187 mm of these scans."""
    if name != "click":
        return load_plan(name)
    plan = load_plan("prompted")
    changed = {"name": "click", "prompt": None, "crop": (64, 192, 192), "pool": (1, 3, 3)}
    return plan.model_copy(update=changed)


def score(
    out: Path,
    names: Sequence[str],
    *,
    device: str,
    tta: bool,
    key_slice: Any,
    image_vote: bool,
    member: str | None = None,
) -> None:
    """Print the Dice of the even patients, beside that of the ellipsoid of the same lines."""
    models = [out / "models" / name for name in names]
    name = member or "+".join(names)
    for lines, (_, draws) in LINES.items():
        dice, least, worst = [], [], []
        for k in range(draws):
            weak = out / _folder(lines, k)
            how = f"{'-tta' if tta else ''}-{key_slice}{'' if image_vote else '-alone'}"
            to = out / "masks" / f"{name}-{_folder(lines, k)}{how}"
            sets = [out / "full", weak]
            if member:
                made = write_layer(sets, member_of(member), to, parents=(LAYER,))
            else:
                made = predict(
                    sets,
                    models,
                    to,
                    parents=(LAYER,),
                    tta=tta,
                    device=device,
                    key_slice=key_slice,
                    image_vote=None if image_vote else False,
                ).manifest
            found = evaluate(made, out / "full", vois=_held(weak))
            dice += [row["dice"] for row in found.rows]
            worst += sorted((round(row["dice"], 2), row["voi_id"]) for row in found.rows)[:3]
            least += [row["dice"] for row in found.ellipsoid.rows] if found.ellipsoid else []
        beside = f"ellipsoid {fmean(least):.4f}" if least else ""
        print(
            f"{name} {key_slice} lines {lines}: Dice {fmean(dice):.4f} ({len(dice)}) {beside}",
            f"worst {worst}",
        )


def _held(weak: Path) -> set[str]:
    return {str(e.row["voi_id"]) for e in read_examples(weak)}


def main(arguments: list[str]) -> int:
    """Run a stage; see the module's text."""
    parser = argparse.ArgumentParser(prog="tools.teacher", description=__doc__)
    parser.add_argument("stage", choices=("build", "train", "score"))
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--plan", default="prompted")
    parser.add_argument("--name")
    parser.add_argument("--member", help="score: a member of an ensemble instead of a model.")
    parser.add_argument("--init", type=Path, help="Model to train further.")
    parser.add_argument(
        "--made-up",
        type=int,
        nargs="?",
        const=1,
        default=0,
        help="build: so many made-up lesions; train: learn from them too.",
    )
    parser.add_argument(
        "--also",
        nargs="?",
        const=".",
        type=Path,
        metavar="FOLDER",
        help="build: lesions of other organs in this folder; train: learn from them too.",
    )
    parser.add_argument(
        "--all", action="store_true", help="train: even-numbered patients too, for other sets."
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--key-slice", default="auto")
    parser.add_argument("--no-image-vote", action="store_true")
    given = parser.parse_args(arguments)
    name = given.name or given.plan
    try:
        if given.stage == "build":
            make(given.data, given.to, given.workers)
            if given.made_up:
                make_up(given.to, given.made_up, given.workers)
            if given.also:
                make_also(given.also, given.to, given.workers)
        elif given.stage == "train":
            report = train(
                [given.to / name for name in _sets(given)],
                given.to / "models" / name,
                plan=plan_of(given.plan),
                init=given.init,
                include_heldout=given.all,
                steps=given.steps,
                seed=given.seed,
                device=given.device,
                workers=given.workers,
                precision=given.precision,
                progress=_told(given.steps),
            )
            print(report.validation, report.failed)
        else:
            score(
                given.to,
                name.split("+"),
                device=given.device,
                tta=given.tta,
                key_slice=given.key_slice,
                image_vote=not given.no_image_vote,
                member=given.member,
            )
    except CaseError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _sets(given: argparse.Namespace) -> list[str]:
    others = {"made-up-full": given.made_up, "also-full": given.also}
    return ["full", *(name for name, asked in others.items() if asked)]


def _told(steps: int) -> Any:
    losses: list[float] = []

    def progress(_count: int, loss: float) -> None:
        losses.append(loss)
        if len(losses) % 50 == 0:
            print(f"{len(losses)} of {steps}: loss {fmean(losses[-50:]):.3f}", flush=True)

    return progress


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
