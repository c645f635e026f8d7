"""Dice of held-out lesions while a network trains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from uls_data.errors import CaseError
from uls_data.manifest.example import Example
from uls_data.network.architecture import deep_logits
from uls_data.network.plan import Intensities, Plan
from uls_data.network.prompted import clean
from uls_data.network.sampling import read_ahead
from uls_data.network.voxels import LESION, SUPERVISED, channels_of, read_region


def heldout_dice(
    network: Any,
    plan: Plan,
    intensities: Intensities,
    examples: Sequence[Example],
    device: Any,
    pool: ThreadPoolExecutor,
) -> list[dict[str, Any]]:
    """Dice of the raw answer (no component is chosen) in the whole VOI, by lesion type.

    What lies outside the plan's crop counts as background. A network that is told the lines is
    given the longest on each lesion, and scored on its own grid. Where only some slices are
    annotated, only those count.

    Returns
    -------
    list of dict
        `lesion_type` (`all` last), `lesions`, `dice`, `std` (population); lesions that cannot
        be read are not counted.
    """
    wanted = LESION | SUPERVISED

    def read(example: Example) -> tuple[str, Any, Any, int] | None:
        try:
            whole = read_region(example, "ignore")
        except CaseError:
            return None
        total = int(((whole.marks & wanted) == wanted).sum())
        if plan.prompt is None:
            part = whole.cut(whole.click, plan.crop)
        else:
            try:
                part = clean(example.row, whole, plan.prompt, plan.crop)
            except CaseError:
                return None
            total = int(((part.marks & wanted) == wanted).sum())
        image = channels_of(part, intensities)
        return str(example.row["lesion_type"]), image, part.marks, total

    scores: dict[str, list[float]] = defaultdict(list)
    network.eval()
    with torch.inference_mode():
        for item in read_ahead(read, examples, pool, 4):
            if item is None:
                continue
            kind, image, marks, total = item
            images = torch.from_numpy(image)[None].to(device)
            answer = deep_logits(network, plan, images)[0].argmax(dim=1)[0].cpu().numpy() == 1
            answer &= (marks & SUPERVISED) != 0
            hit = int((answer & ((marks & LESION) != 0)).sum())
            size = int(answer.sum()) + total
            scores[kind].append(2 * hit / size if size else 1.0)
    network.train()
    rows = [_row(kind, scores[kind]) for kind in sorted(scores)]
    return [*rows, _row("all", [score for kind in scores.values() for score in kind])]


def _row(kind: str, scores: list[float]) -> dict[str, Any]:
    mean = float(np.mean(scores)) if scores else None
    std = float(np.std(scores)) if scores else None
    return {"lesion_type": kind, "lesions": len(scores), "dice": mean, "std": std}
