"""What the smoke scripts do inside an image: `smoke.py made | job | masks | builds FOLDER`."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from demo.sources import make_archives
from uls_data import export_grand_challenge, load_manifest
from uls_data.measure.overlap import dice
from uls_data.scoring.job import Stack

VOIS, VOIS_OF_JOB, LEAST_DICE = 6, 3, 0.7
# A network of 32 x 32 x 16 voxels that learns to tell a bright ball from noise in seconds.
PLAN = {
    "plan_version": 1,
    "name": "smoke",
    "architecture": {
        "features": [4, 8],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "kernels": [[3, 3, 3], [3, 3, 3]],
        "blocks": [1, 1],
        "decoder_convs": [1],
    },
    "crop": [16, 32, 32],
    "pool": [1, 2, 2],
    "intensities": "fingerprint",
    "training": {
        "batch_size": 2,
        "epochs": 1,
        "fine_tune_epochs": 1,
        "steps_per_epoch": 60,
        "learning_rate": 0.05,
        "momentum": 0.9,
        "augment": False,
        "reclick": 0.5,
    },
}


def made(folder: Path) -> str:
    """Write a raw archive, and the plan of a small network (YAML reads JSON)."""
    archives = make_archives(folder / "raw", only=["own"])
    (folder / "plan.yaml").write_text(json.dumps(PLAN), encoding="utf-8")
    return f"raw archive {archives['own']}"


def builds(folder: Path) -> str:
    """Two builds are whole and equal to the byte."""
    rows = load_manifest(folder / "vois")
    count = int((rows["status"] == "ok").sum())
    assert count == VOIS, f"expected {VOIS} VOIs, found {count}"
    trees = [tree(folder / name / "own") for name in ("vois", "again")]
    assert trees[0] == trees[1], "two builds differ"
    return f"{count} VOIs, {len(trees[0])} files equal in two builds"


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of images, labels and thumbnails."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.*"))
        if path.is_file()
    }


def job(folder: Path) -> str:
    """Write the VOIs as jobs of the challenge."""
    jobs = export_grand_challenge(folder / "vois", folder, stack_size=VOIS_OF_JOB).jobs
    return f"{len(jobs)} jobs"


def masks(folder: Path) -> str:
    """Check an answer against the job's stack and its truth."""
    (answer,) = (folder / "answer").rglob("*.*")
    assert answer.relative_to(folder / "answer") == Path("images/ct-binary-uls/job-001.mha")
    found, truth = Stack(answer), Stack(folder / "job-001/ground-truth/job-001.mha")
    assert len(found) == len(truth) == VOIS_OF_JOB
    scores = []
    for number in range(VOIS_OF_JOB):
        mask = np.asarray(found[number])
        assert mask.dtype == np.uint8 and set(np.unique(mask)) <= {0, 1}
        scores.append(dice(mask, np.asarray(truth[number])))
    assert min(scores) > LEAST_DICE, scores
    return f"{VOIS_OF_JOB} masks, Dice {', '.join(f'{score:.2f}' for score in scores)}"


if __name__ == "__main__":
    step = {"made": made, "builds": builds, "job": job, "masks": masks}[sys.argv[1]]
    sys.stdout.write(f"{step(Path(sys.argv[2]))}\n")
