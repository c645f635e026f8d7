"""Masks that are edited in the browser: what the page is told, and what it may save."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errata import (
    Correction,
    Edit,
    ErrataError,
    Target,
    current,
    find_target,
    load_overlay,
    save_edit,
)
from uls_data.errata.edits import does_not_follow, patch_of, steps_by_voi
from uls_data.errata.mask import read_patch
from uls_data.outcome import Flag, Supervision
from uls_data.triage.curators import Taken
from uls_data.triage.edited import Edited
from uls_data.triage.guarded import CSS, HTML, SCRIPT, RefusalError
from uls_data.triage.shown import Lesions
from uls_data.triage.verdicts import Subject
from uls_data.triage.vois import Voi, finite
from uls_data.voi import CENTRE, VOI_SHAPE

EDIT_PAGES = {
    "/edit": ("edit.html", HTML),
    "/edit.css": ("edit.css", CSS),
    **{f"/{name}.js": (f"{name}.js", SCRIPT) for name in ("edit", "brush", "masks")},
}
LONGEST_EDIT = 1 << 22
EVIDENCE = "edited in triage, over the image"
_LONGEST_LINE = 1000
_VOXELS = VOI_SHAPE[0] * VOI_SHAPE[1] * VOI_SHAPE[2]


def runs_of(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of runs of voxels, off and on in turn, x fastest; the first is off.

    Parameters
    ----------
    mask : ndarray, bool, shape (256, 256, 128)
        RAS.
    """
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    # What is off at the end is not said.
    first, last = [0, 0] if flat[0] else [0], [flat.size] if flat[-1] else []
    lengths: list[int] = np.diff(np.concatenate((first, edges, last)).astype(np.int64)).tolist()
    return lengths


def mask_of(runs: Any) -> NDArray[np.bool_]:
    """Mask of runs, see `runs_of`; shape (256, 256, 128), RAS.

    Raises
    ------
    RefusalError
        Not runs, or they reach beyond the VOI.
    """
    wrong = RefusalError(HTTPStatus.BAD_REQUEST, "no runs of voxels in a VOI")
    if not isinstance(runs, list):
        raise wrong
    try:
        lengths = np.array(runs or [0])
    except (ValueError, OverflowError) as error:
        raise wrong from error
    if lengths.ndim != 1 or lengths.dtype != np.int64 or len(lengths) > _VOXELS:
        raise wrong
    if lengths.min() < 0 or lengths.max() > _VOXELS or lengths.sum() > _VOXELS:
        raise wrong
    flat = np.zeros(_VOXELS, bool)
    flat[: lengths.sum()] = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    return flat.reshape(VOI_SHAPE, order="F")


class Editor:
    """Edits of the VOIs that triage shows, each on disk before the call that saves it returns.

    Edits that the overlay has already are shown from the start. Not safe for several threads.

    Parameters
    ----------
    out : Path
        OUT folder, or one manifest of it.
    lesions : Lesions
    overlay : Path
        For the edits; made at the first one.
    author : str

    Raises
    ------
    ErrataError
        The overlay is not one.
    """

    def __init__(self, out: Path, lesions: Lesions, overlay: Path, author: str) -> None:
        self._out, self._lesions = out, lesions
        self.overlay, self.author = overlay, author
        steps = steps_by_voi(load_overlay(overlay)) if overlay.is_file() else {}
        for key, number in lesions.numbers(list(steps)).items():
            subject = lesions.subject(number)
            if does_not_follow(steps[key], subject.layer, subject.sha256) is None:
                self._show(number, subject, steps[key])

    def opened(self, number: int) -> dict[str, Any]:
        """Return what the page needs to edit a VOI, as JSON can hold it.

        Raises
        ------
        ErrataError, ManifestError
            It cannot be edited.
        """
        voi, target = self._voi(number), self._target(number)
        now = current(target, self.overlay)
        if voi.subject is None or now.sha256 != voi.subject.sha256:
            raise ErrataError(
                f"{target.row['voi_id']}: {self.overlay.name} was changed by another program: "
                "start `uls-data triage` again"
            )
        flags = target.row["qc_flags"] or ()
        mask = voi.whole()
        return {
            "number": number,
            "sha256": now.sha256,
            "edits": now.edits,
            "runs": runs_of(mask),
            "centre": CENTRE,
            "parts": 26 if Flag.SEVERAL_COMPONENTS_6 in flags else 6,
            "supervision": now.row["supervision"],
            "asks_full": now.row["supervision"] != Supervision.FULL,
            "measured": _measured(target, mask),
            "overlay": str(self.overlay),
            "author": self.author,
        }

    def original(self, number: int) -> dict[str, Any]:
        """Mask of the manifest, whatever it was edited to."""
        return {"runs": runs_of(self._lesions.voi(number, edited=False).whole())}

    def save(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Save a mask; returns its hash and what is measured on it.

        Parameters
        ----------
        body : dict
            `number` of the VOI; `runs`, see `mask_of`; `before`: hash of the mask that was edited;
            `reason`; `full`: it is the whole lesion, see `Edit`.

        Raises
        ------
        RefusalError
            The body is not that.
        ErrataError
            The mask or the reason is refused, or cannot be written.
        """
        number, before, reason, full = (
            body.get(name) for name in ("number", "before", "reason", "full")
        )
        if type(number) is not int or not 0 <= number < len(self._lesions):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "no VOI shown here")
        if not (
            isinstance(before, str) and isinstance(reason, str) and isinstance(full, bool | None)
        ):
            raise RefusalError(HTTPStatus.BAD_REQUEST, "expected before, reason, full and runs")
        mask = mask_of(body.get("runs"))
        return self._save(number, Edit(mask, before, self.author, reason, EVIDENCE, bool(full)))

    def take(self, number: int, taken: Taken | None, name: str) -> None:
        """Save the mask of a curator, or the manifest's, as an edit of the one that is judged.

        Parameters
        ----------
        taken : Taken or None
            None: the manifest's.
        name : str
            Of the curator.

        Raises
        ------
        ErrataError, CaseError
            It cannot be read, is refused, or cannot be written.
        """
        before = str(self._lesions.subject(number).sha256)
        if taken is None:
            mask, full = self._lesions.voi(number, edited=False).whole(), False
            reason, evidence = "the mask that was built", "chosen in triage"
        else:
            mask = read_patch(taken.overlay, taken.patch, self._target(number).affine)
            reason, full = f"mask of {name}", taken.full
            evidence = f"chosen in triage, see {name}: {taken.words}"[:_LONGEST_LINE]
        self._save(number, Edit(mask, before, self.author, reason, evidence, full))

    def _save(self, number: int, edit: Edit) -> dict[str, Any]:
        self._voi(number)
        target = self._target(number)
        correction = save_edit(target, edit, self.overlay)
        self._show(number, self._lesions.built(number), [correction])
        return {
            "number": number,
            "sha256": correction.after,
            "measured": _measured(target, edit.mask),
            "overlay": str(self.overlay),
        }

    def _voi(self, number: int) -> Voi:
        voi = self._lesions.voi(number)
        if voi.subject is None:
            raise ErrataError(f"not edited: {' '.join(voi.problems)}")
        return voi

    def _target(self, number: int) -> Target:
        subject = self._lesions.subject(number)
        return find_target(subject.voi_id, self._out, source=subject.source, layer=subject.layer)

    def _show(self, number: int, subject: Subject, steps: list[Correction]) -> None:
        """Show the mask that some corrections led to.

        Parameters
        ----------
        subject : Subject
            The manifest's.
        """
        patch, after = patch_of(steps), steps[-1].after
        if patch is None or after == subject.sha256:
            self._lesions.set_edited(number, None)
            return
        shown = Subject(subject.source, subject.voi_id, subject.layer, after)
        self._lesions.set_edited(number, Edited(shown, self.overlay, patch))


def _measured(target: Target, mask: NDArray[np.bool_]) -> dict[str, Any]:
    return {name: finite(value) for name, value in target.measured(mask).items()}
