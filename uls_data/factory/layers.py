"""Masks of one lesion: those that its source holds, or pseudo-masks made from its lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError
from uls_data.factory.options import Options
from uls_data.geometry import Triple
from uls_data.ids import draw
from uls_data.lesions import Lesion
from uls_data.lesions.instances import Measured
from uls_data.lesions.votes import disagreement_of
from uls_data.manifest.row import Row, Score
from uls_data.measure import axes
from uls_data.outcome import LesionType, Reason, Supervision
from uls_data.pseudomask.key_slice import KeySlice, PseudoMask
from uls_data.pseudomask.methods import ELLIPSOID, SOLID, pseudo_mask
from uls_data.pseudomask.quality import Quality
from uls_data.voi import hounsfield
from uls_data.volumes.volume import Volume

ANNOTATED = "annotated"
# What the published engine is called in the manifest: the method is the same, its faults are a
# switch of the profile.
_PUBLISHED = {"grabcut": "published"}


@dataclass(frozen=True)
class Layer:
    """One mask of a lesion, or why there is none.

    Attributes
    ----------
    name : str
    voxels : ndarray, shape (n, 3), int32
        RAS indices in the scan, in C order.
    columns : dict
        Manifest columns of this mask alone.
    measured : Measured or None
        The lines that it was made from.
    flat : bool
        Whether it is a mask on one slice, which says nothing of the others.
    problem : CaseError or None
    """

    name: str
    voxels: NDArray[np.int32]
    columns: Row = field(default_factory=Row)
    measured: Measured | None = None
    flat: bool = False
    problem: CaseError | None = None


def annotated_layers(lesion: Lesion) -> list[Layer]:
    """Masks that the source holds: the lesion's, and those of its readers."""
    scores: Row = {
        "agreement_level": lesion.agreement,
        "uncertainty": disagreement_of(lesion.scores),
        "candidate_scores": _scores(lesion.scores),
    }
    first = Layer(ANNOTATED, lesion.voxels, scores)
    readers = [Layer(name, voxels, {"annotator": name}) for name, voxels in lesion.readers]
    return [first, *readers]


class Measurements:
    """Turns a measured lesion into its layers; one a scan.

    Parameters
    ----------
    scan : Volume or None
        None where no chosen method needs the image.
    shape : tuple of 3 int
        Of the scan in RAS.
    spacing_mm : tuple of 3 float, or None
    case_id : str
    """

    def __init__(
        self,
        options: Options,
        case_id: str,
        scan: Volume | None,
        shape: Triple,
        spacing_mm: tuple[float, ...] | None,
    ) -> None:
        self.options, self.case_id, self.scan, self.shape = options, case_id, scan, shape
        self.spacing_mm = spacing_mm
        self.quality = Quality.from_json(options.calibration) if options.calibration else None

    def chosen(self, lesion: Lesion) -> Measured:
        """Return the measurement that the lesion is made from: one reader's, drawn by identity."""
        options = self.options
        identity = (options.seed, options.recipe.source, self.case_id, lesion.index, "reader")
        return lesion.measured[draw(len(lesion.measured), *identity)]

    def clickable(self, lesion: Lesion) -> Lesion:
        """Return the lesion with the voxels that a click is drawn from (contract 3.4).

        They are the quadrilateral's, less bone beside the lesion where the image was read: they
        depend on no method.

        Raises
        ------
        CaseError
            `degenerate_lines`.
        """
        from uls_data.pseudomask.bone import clickable  # SciPy, which most cases do without

        measured = self.chosen(lesion)
        inside = clickable(self._key_slice(lesion, measured))
        return replace(lesion, voxels=_on_slice(inside, measured.slice_vox))

    def layers(self, lesion: Lesion) -> Iterator[Layer]:
        """Pseudo-masks of the drawn reader by every method, and of every reader by the first.

        Raises
        ------
        CaseError
            `degenerate_lines`, of the drawn reader.
        """
        chosen = self.chosen(lesion)
        several = len(lesion.measured) > 1
        about: Row = {"agreement_level": len(lesion.measured)} if several else {}
        mine: Row = {**about, "annotator": f"reader-{chosen.reader}"} if several else {}
        for method in self.options.masks:
            yield self._layer(method, method, lesion, chosen, mine)
        for measured in lesion.measured if several else ():
            name = f"reader-{measured.reader}"
            columns: Row = {
                **about,
                "annotator": name,
                "parent_layer": self.options.masks[0],
            }
            try:
                yield self._layer(name, self.options.masks[0], lesion, measured, columns)
            except CaseError as error:
                yield _without(name, columns, measured, error)

    def _layer(
        self, name: str, method: str, lesion: Lesion, measured: Measured, columns: Row
    ) -> Layer:
        if method in SOLID:
            return self._solid(name, method, lesion, measured, columns)
        key_slice = self._key_slice(lesion, measured)
        if self.options.profile.published_grabcut:
            method = _PUBLISHED.get(method, method)
        made = pseudo_mask(method, key_slice, self.quality)
        return Layer(
            name,
            _on_slice(made.mask, measured.slice_vox),
            {**columns, **_measured_columns(made, measured)},
            measured,
            flat=True,
        )

    def _solid(
        self, name: str, method: str, lesion: Lesion, measured: Measured, columns: Row
    ) -> Layer:
        columns = {**columns, "supervision": Supervision.PSEUDO_3D.value}
        if self.spacing_mm is None:
            detail = "the scan's spacing is not known, so neither is how far the lesion reaches"
            problem = CaseError(Reason.SPACING_UNKNOWN, detail)
            return _without(name, columns, measured, problem)
        x, y, z = self.spacing_mm
        predicted_dice = None
        if method == ELLIPSOID:
            from uls_data.pseudomask.solid import solid

            voxels = solid(
                measured.lines, measured.slice_vox, self.shape, (x, y, z), measured.outward_vox
            )
        else:
            voxels, predicted_dice = self._followed(lesion, measured, (x, y, z))
        plane = np.zeros(self.shape[:2], bool)
        plane[tuple(voxels[voxels[:, 2] == measured.slice_vox, :2].T)] = True
        made = PseudoMask(plane, predicted_dice=predicted_dice)
        return Layer(name, voxels, columns | _measured_columns(made, measured), measured)

    def _followed(
        self, lesion: Lesion, measured: Measured, spacing_mm: tuple[float, float, float]
    ) -> tuple[NDArray[np.int32], float]:
        """Voxels of the jury's mask in 3D, and its predicted Dice."""
        from uls_data.pseudomask.jury_3d import jury_3d
        from uls_data.pseudomask.slab import Part

        assert self.scan is not None
        key_slice = self._key_slice(lesion, measured)
        key_slice.check_lines()
        x, y, z = (slice(0, n) for n in self.shape)
        part = Part.about(key_slice, measured.slice_vox, (x, y, z), spacing_mm)
        assert part is not None  # its lines and its slice were found
        hu, _ = hounsfield(self.scan.ras[part.box], self.scan.slope, self.scan.intercept)
        made = jury_3d(hu, part.measured, part.slice_vox, spacing_mm)
        voxels = np.argwhere(made.mask) + [side.start for side in part.box]
        return voxels.astype(np.int32), made.predicted_dice

    def _key_slice(self, lesion: Lesion, measured: Measured) -> KeySlice:
        hu: NDArray[Any]
        if self.scan is None:
            hu = np.broadcast_to(np.int16(0), self.shape[:2])
        else:
            stored = self.scan.ras[:, :, measured.slice_vox]
            hu, _ = hounsfield(stored, self.scan.slope, self.scan.intercept)
        kind = dict(lesion.columns).get("lesion_type", self.options.recipe.lesion_type)
        # Methods measure in pixels; only the ratio of the two spacings can matter to them.
        x, y = (self.spacing_mm or (1.0, 1.0))[:2]
        return KeySlice(
            hu=hu,
            lines=measured.lines,
            spacing_mm=(float(x), float(y)),
            window_hu=measured.window_hu,
            outward_vox=measured.outward_vox,
            identity=(self.options.recipe.source, self.case_id, lesion.index, measured.reader),
            of_bone=kind == LesionType.BONE,
        )


def _without(name: str, columns: Row, measured: Measured, problem: CaseError) -> Layer:
    nothing = np.empty((0, 3), np.int32)
    return Layer(name, nothing, columns, measured, problem=problem)


def _on_slice(mask: NDArray[np.bool_], slice_vox: int) -> NDArray[np.int32]:
    found = np.argwhere(mask).astype(np.int32)
    return np.column_stack([found, np.full(len(found), slice_vox, np.int32)])


def _measured_columns(made: PseudoMask, measured: Measured) -> Row:
    found = axes.measure(made.mask[:, :, None])
    lines = measured.lines
    return {
        "recist_long_vox": lines.long_vox,
        "recist_short_vox": lines.short_vox,
        "key_slice_long_error_vox": found.long_vox - lines.long_vox,
        "key_slice_short_error_vox": found.short_vox - lines.short_vox,
        "predicted_dice": made.predicted_dice,
        "uncertainty": made.uncertainty,
        "candidate_scores": _scores(made.scores),
    }


def _scores(scores: tuple[tuple[str, str, float], ...]) -> list[Score] | None:
    return [
        {"candidate": candidate, "measure": measure, "value": value}
        for candidate, measure, value in scores
    ] or None
