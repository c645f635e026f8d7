"""Networks that are told the lines, as the teacher that certificates are tried on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from uls_data.ensemble.subject import Subject
from uls_data.ids import draw
from uls_data.manifest.row import Row
from uls_data.measure.overlap import dice
from uls_data.network.checkpoint import load_models
from uls_data.network.inference import Predictor
from uls_data.network.lesion import Found, find_lesion
from uls_data.network.prompt import Drawn, Frame, framed
from uls_data.network.view import View
from uls_data.network.voxels import voi_part
from uls_data.voi import VOI_SHAPE

# Lines of so many other readers are tried, with this noise.
_OTHERS, _NOISE = 2, 0.05


@dataclass(frozen=True)
class Told:
    """Masks of one network, or of several that are averaged, and what they say of them.

    Attributes
    ----------
    models : tuple of Path
    """

    models: tuple[Path, ...]
    name: str = "told"
    needs: frozenset[str] = frozenset({"lines", "image"})

    def mask(self, subject: Subject) -> NDArray[np.bool_] | None:
        """Mask in 3D; None where there are no lines or nothing is found."""
        found = self._found(subject, self._drawn(subject))
        return None if found is None else _whole(found)

    def judged(self, subject: Subject) -> tuple[NDArray[np.bool_], Row] | None:
        """Mask, and the columns that `predict --jitter 2` writes of it."""
        drawn = self._drawn(subject)
        found = self._found(subject, drawn)
        if found is None or drawn is None:
            return None
        mask = _whole(found)
        others = []
        for k in range(_OTHERS):
            random = np.random.default_rng(draw(1 << 53, str(subject.row["voi_id"]), "other", k))
            other = self._found(subject, drawn.redrawn(random, _NOISE))
            others.append(0.0 if other is None else dice(mask, _whole(other)))
        scores = {"click_dice": float(np.mean(others))}
        if found.view_disagreement is not None:
            scores["view_disagreement"] = found.view_disagreement
        return mask, subject.row | {
            "predicted_dice": found.soft_dice,
            "uncertainty": found.entropy_bits,
            "candidate_scores": [
                {"candidate": "network", "measure": name, "value": value}
                for name, value in scores.items()
            ],
        }

    def _drawn(self, subject: Subject) -> Drawn | None:
        if subject.lines is None or subject.key_slice is None or subject.spacing_mm is None:
            return None
        return Drawn(subject.lines, subject.key_slice, subject.spacing_mm)

    def _found(self, subject: Subject, drawn: Drawn | None) -> Found | None:
        """Lesion in indices (z, y, x) of the VOI."""
        predictor = _predictor(self.models)
        plan = predictor.model.plan
        if drawn is None or plan.prompt is None:
            return None
        frame = Frame.about(drawn, plan.prompt, plan.crop)
        view = View(framed(voi_part(subject.hu, subject.row), frame), frame=frame)
        ((_, answer),) = predictor.answers([(0, view.region)])
        there, corner, place = view.answer(answer)
        found = find_lesion(there, place, drawn.spacing_mm[::-1])
        if found is None:
            return None
        z, y, x = (
            slice(part.start + low, part.stop + low)
            for part, low in zip(found.box, corner, strict=True)
        )
        return replace(found, box=(z, y, x))


@cache
def _predictor(models: tuple[Path, ...]) -> Predictor:
    torch.set_num_threads(1)  # every process has a network of its own
    return Predictor(load_models(models), torch.device("cpu"))


def _whole(found: Found) -> NDArray[np.bool_]:
    mask = np.zeros(VOI_SHAPE, bool)
    mask.T[found.box] = found.mask
    return mask
