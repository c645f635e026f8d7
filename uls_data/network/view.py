"""One VOI on its way through a network: from which clicks or lines it is looked at, and what of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple
from uls_data.ids import draw
from uls_data.manifest.example import Example
from uls_data.manifest.row import Score
from uls_data.network.drawn import weighed
from uls_data.network.inference import Answer
from uls_data.network.lesion import Box, Found, clicked, find_lesion, moved_dice
from uls_data.network.plan import VOI_ZYX, Plan
from uls_data.network.prompt import Frame, drawn_of, framed
from uls_data.network.voxels import CENTRE_ZYX, Region, read_image, read_mask

# How far another reader's ends lie from these, as a share of the axis (standard deviation).
_OTHER_READER = 0.05


@dataclass(frozen=True)
class View:
    """What a network sees of a VOI, and where that lies in the VOI.

    Attributes
    ----------
    region : Region
        Of the plan's crop about its click.
    corner : tuple of 3 int
        Index (z, y, x) in the VOI of the crop's first voxel; may be negative.
    frame : Frame or None
        Grid about the lines; the corner plays no part then.
    """

    region: Region
    corner: Triple = (0, 0, 0)
    frame: Frame | None = None

    def answer(self, answer: Answer) -> tuple[Answer, Triple, Triple]:
        """Answer on the VOI's voxels, the corner (z, y, x) where it begins, and the lesion's place.

        The place, in the answer, is the click; where there are lines, the middle of their ellipse.
        """
        if self.frame is None:
            z, y, x = (n // 2 for n in answer.margin.shape)
            return answer, self.corner, (z, y, x)
        box = self.frame.box(VOI_ZYX)
        votes = answer.votes
        if votes is not None:
            votes = np.rint(self.frame.spread(votes, box)).astype(np.uint8)
        there = replace(answer, margin=self.frame.spread(answer.margin, box), votes=votes)
        corner: Triple = tuple(part.start for part in box)
        z, y, x = (
            int(np.clip(at - low, 0, n - 1))
            for at, low, n in zip(self.frame.middle, corner, there.margin.shape, strict=True)
        )
        return there, corner, (z, y, x)

    def cuts(self, mask_box: Box) -> bool:
        """Whether a mask in a box of the VOI reaches a border of what is seen within the VOI."""
        if self.frame is not None:
            seen = self.frame.box(VOI_ZYX)
        else:
            seen = _moved(_all_of(self.region), self.corner)
        return any(
            (part.start <= there.start and there.start > 0)
            or (part.stop >= there.stop and there.stop < whole)
            for part, there, whole in zip(mask_box, seen, VOI_ZYX, strict=True)
        )


@dataclass
class Job:
    """One VOI: what was read, and what was found from its views so far.

    Attributes
    ----------
    example : Example
    region : Region
        What was read of the VOI, about its centre.
    plane : ndarray, shape (y, x), bool, or None
        Mask of the row on its key slice.
    view : View
        The first one.
    weighed : bool
        Whether the jury in 3D has a vote beside the network.
    found : Found or None
        In indices of the VOI.
    other_views : list of View
        From other clicks or lines.
    other_dice : list of float
        Dice of what each of these finds with what the first one finds.
    """

    example: Example
    region: Region
    plane: NDArray[np.bool_] | None
    view: View
    weighed: bool = False
    found: Found | None = None
    other_views: list[View] = field(default_factory=list)
    other_dice: list[float] = field(default_factory=list)

    def take(self, answer: Answer, spacing_mm: Sequence[float]) -> None:
        """Find the lesion in the answer to the first view."""
        there, corner, click = self._answer(self.view, answer)
        found = find_lesion(there, click, spacing_mm)
        self.found = None if found is None else replace(found, box=_moved(found.box, corner))

    def compare(self, answer: Answer, spacing_mm: Sequence[float]) -> None:
        """Compare the answer to the next of the other views with what was found."""
        there, corner, click = self._answer(self.other_views[len(self.other_dice)], answer)
        part = clicked(there.margin > 0, click, spacing_mm)
        if part is not None:
            part = _moved(part[0], corner), part[1]
        assert self.found is not None
        self.other_dice.append(moved_dice(self.found, part, (0, 0, 0)))

    def _answer(self, view: View, answer: Answer) -> tuple[Answer, Triple, Triple]:
        """Answer of a view (`View.answer`), with further votes where there are to be some."""
        there, corner, click = view.answer(answer)
        if self.weighed and view.frame is not None:
            z, y, x = (slice(c, c + n) for c, n in zip(corner, there.margin.shape, strict=True))
            part = Region(self.region.hu[z, y, x], self.region.marks[z, y, x], click)
            drawn = view.frame.drawn.moved(corner)
            there = replace(there, margin=weighed(there.margin, part, drawn))
        return there, corner, click

    def look_again(self, count: int, seed: int, plan: Plan, margin: tuple[int, ...]) -> None:
        """Set up other views: from other voxels of the mask, or lines of other readers."""
        if self.found is None or count == 0:
            return
        if self.view.frame is not None and plan.prompt is not None:
            drawn = self.view.frame.drawn
            for k in range(count):
                random = np.random.default_rng(self._draw(1 << 53, seed, k))
                other = drawn.redrawn(random, _OTHER_READER)
                frame = Frame.about(other, plan.prompt, plan.crop)
                self.other_views.append(View(framed(self.region, frame, plan.prompt), frame=frame))
            return
        places = np.argwhere(self.found.mask) + [part.start for part in self.found.box]
        places = places[(np.abs(places - CENTRE_ZYX) <= margin).all(axis=1)]
        for k in range(count if len(places) else 0):
            chosen = places[self._draw(len(places), seed, k)]
            z, y, x = (
                int(at - middle + click)
                for at, middle, click in zip(chosen, CENTRE_ZYX, self.region.click, strict=True)
            )
            corner: Triple = tuple(  # type: ignore[assignment]
                int(at) - n // 2 for at, n in zip(chosen, plan.crop, strict=True)
            )
            self.other_views.append(View(self.region.cut((z, y, x), plan.crop), corner))

    @property
    def scores(self) -> list[Score]:
        """What the network says about the lesion that was found, as rows hold it."""
        found = self.found
        assert found is not None
        scores = {
            "mean_probability": found.mean_probability,
            "entropy_bits": found.entropy_bits,
            "soft_dice": found.soft_dice,
        }
        if found.view_disagreement is not None:
            scores["view_disagreement"] = found.view_disagreement
        if self.other_dice:
            scores["click_dice"] = float(np.mean(self.other_dice))
        return [
            {"candidate": "network", "measure": name, "value": value}
            for name, value in scores.items()
        ]

    def _draw(self, below: int, seed: int, k: int) -> int:
        return draw(below, seed, *self.example.identity[:4], "jitter", k)


def read_job(example: Example, plan: Plan, shape: Triple) -> Job:
    """Read what a network sees of a row's VOI.

    Parameters
    ----------
    shape : tuple of 3 int
        Part of the VOI to read about its centre, z, y, x; all of it where lines say what is seen.

    Raises
    ------
    CaseError
        A file is missing, unreadable, or no VOI; or the plan needs lines and the row has none.
    """
    row, plane = example.row, None
    drawn = drawn_of(row) if plan.prompt is not None else None
    at = row["key_slice_voi"]
    if row["label_path"] is not None and at is not None and 0 <= at < VOI_ZYX[0]:
        plane = read_mask(example)[at]
    region = read_image(example, shape if drawn is None else VOI_ZYX)
    if drawn is None or plan.prompt is None:
        corner: Triple = tuple(  # type: ignore[assignment]
            at - n // 2 for at, n in zip(CENTRE_ZYX, plan.crop, strict=True)
        )
        return Job(example, region, plane, View(region.cut(region.click, plan.crop), corner))
    frame = Frame.about(drawn, plan.prompt, plan.crop)
    return Job(example, region, plane, View(framed(region, frame, plan.prompt), frame=frame))


def _all_of(region: Region) -> Box:
    z, y, x = (slice(0, n) for n in region.hu.shape)
    return z, y, x


def _moved(box: Box, corner: Triple) -> Box:
    z, y, x = (
        slice(part.start + low, part.stop + low) for part, low in zip(box, corner, strict=True)
    )
    return z, y, x
