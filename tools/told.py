"""Networks that are told the lines, as the teacher that certificates are tried on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from uls_data.ensemble.subject import Subject
from uls_data.manifest.example import Example
from uls_data.manifest.row import Row
from uls_data.network.checkpoint import load_model
from uls_data.network.inference import Answer, Predictor
from uls_data.network.prompt import Drawn, Frame, framed
from uls_data.network.view import Job, View
from uls_data.network.voxels import voi_part
from uls_data.pseudomask.methods import pseudo_mask
from uls_data.voi import VOI_SHAPE


@dataclass(frozen=True)
class Told:
    """Masks of one network, or of several that are averaged, and what they say of them.

    Attributes
    ----------
    models : tuple of Path
    others : int
        Lines of so many other readers are tried.
    """

    models: tuple[Path, ...]
    others: int = 2

    def judged(self, subject: Subject) -> tuple[NDArray[np.bool_], Row] | None:
        """Mask, and the row with what `predict --image-vote` writes of it; None without a mask."""
        plan = _predictor(self.models).model.plan
        lines, at, spacing_mm = subject.lines, subject.key_slice, subject.spacing_mm
        if lines is None or at is None or spacing_mm is None or plan.prompt is None:
            return None
        region = voi_part(subject.hu, subject.row)
        frame = Frame.about(Drawn(lines, at, spacing_mm), plan.prompt, plan.crop)
        first = View(framed(region, frame, plan.prompt), frame=frame)
        measured = subject.measured(image=True)
        plane = None if measured is None else pseudo_mask("jury", measured).mask.T
        job = Job(Example(Path(), subject.row), region, plane, first, weighed=True)
        job.take(self._answer(first), spacing_mm[::-1])
        if job.found is None:
            return None
        job.look_again(self.others, 0, plan, (0, 0, 0))
        for view in job.other_views:
            job.compare(self._answer(view), spacing_mm[::-1])
        mask = np.zeros(VOI_SHAPE, bool)
        mask.T[job.found.box] = job.found.mask
        return mask, subject.row | {
            "predicted_dice": job.found.soft_dice,
            "uncertainty": job.found.entropy_bits,
            "candidate_scores": job.scores,
        }

    def _answer(self, view: View) -> Answer:
        ((_, answer),) = _predictor(self.models).answers([(0, view.region)])
        return answer


@cache
def _predictor(models: tuple[Path, ...]) -> Predictor:
    torch.set_num_threads(1)  # every process has a network of its own
    return Predictor(load_model(models), torch.device("cpu"))
