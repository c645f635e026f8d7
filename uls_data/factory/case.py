"""One case: decode its scan once, cut every lesion of it, and write down what happened."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uls_data import __version__, geometry
from uls_data.errors import CaseError, UlsDataError
from uls_data.factory.options import Built, Options, Position, Row, Task
from uls_data.factory.replay import find_origin
from uls_data.factory.writer import Writer
from uls_data.geometry import Affine, Triple
from uls_data.ids import hash_of, readable, voi_id
from uls_data.lesions import Lesion, below_minimum, click_of, find_lesions
from uls_data.lesions.instances import join_votes
from uls_data.masks import describe_label
from uls_data.outcome import Flag, Reason, Status
from uls_data.readers import Volume, read_volume
from uls_data.recipe.model import Files, Quirk
from uls_data.voi import VOI_SHAPE, Box, box_around, box_at, cut_image, cut_label, scan_minimum_hu

LAYER = "annotated"
# Two headers describe one grid if no corner of it moves by more of a voxel than this.
_SAME_GRID_VOX = 0.1
_LONGEST_NAME_BYTES = 255


def build_case(task: Task, options: Options, staging: Path) -> Built:
    """Build one case; returns its rows, whatever happens to it, and its files.

    Raises
    ------
    SourceError
        The output cannot be written: no other case would fare better.
    """
    row = _case_row(task, options)
    try:
        _check_unchanged(task, options)
        if task.case.problem is not None:
            raise CaseError(*task.case.problem)
        if task.positions == ():
            detail = "the replayed manifest does not name this case"
            return Built([_ended(row, Status.SKIPPED, Reason.NOT_IN_REPLAY_MANIFEST, detail)])
        with Writer(staging) as writer:
            rows = list(_Case(task, options, row, writer).rows())
            _check_unchanged(task, options)
        return Built(rows, writer.folder if writer.files else None, tuple(writer.files))
    except CaseError as error:
        reason, detail = error.reason, error.detail
    except UlsDataError:
        raise
    except MemoryError:
        reason = Reason.OUT_OF_MEMORY
        detail = "not enough memory for this case; build it alone (--only) or with fewer --workers"
    except Exception as error:
        reason = Reason.INTERNAL_ERROR
        where = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    return Built([_ended(row, Status.FAILED, reason, detail)])


def lost_case(task: Task, detail: str, options: Options) -> Built:
    """Row of a case whose worker died."""
    return Built([_ended(_case_row(task, options), Status.FAILED, Reason.WORKER_LOST, detail)])


def _case_row(task: Task, options: Options) -> Row:
    """Columns that every row of a case shares."""
    recipe, case = options.recipe, task.case
    patient = recipe.patient_of(case.case_id)
    return {
        "source": recipe.source,
        "case_id": case.case_id,
        "patient_id": patient,
        "layer": LAYER,
        "image_source": readable(case.image.as_posix())
        if case.image and not options.labels_only
        else None,
        "label_source": _label_source(task),
        "recipe_version": recipe.recipe_version,
        "recipe_sha256": options.recipe_sha256,
        "software_version": __version__,
        "profile": options.profile.name,
        "seed": options.seed,
        "lesion_type": recipe.lesion_type.value,
        "supervision": recipe.supervision,
        "split": recipe.split_of(patient),
        "licence": recipe.licence.name,
        "redistributable": recipe.licence.redistributable,
        "qc_flags": []
        if recipe.licence.redistributable is not None
        else [Flag.REDISTRIBUTION_UNKNOWN.value],
        "lesion_index": None,
        "sample_index": None,
    }


def _label_source(task: Task) -> str | None:
    if task.case.instances:
        return readable(task.case.instances[0][2].parent.as_posix())
    return readable(task.case.mask.as_posix()) if task.case.mask else None


def _ended(row: Row, status: Status, reason: Reason, detail: str) -> Row:
    return {**row, "status": status.value, "reason": reason.value, "detail": readable(detail)}


class _Case:
    """The volumes of one case while its lesions are cut."""

    def __init__(self, task: Task, options: Options, row: Row, writer: Writer) -> None:
        self.task, self.options, self.row, self.writer = task, options, row, writer
        recipe = options.recipe
        self.flags = {Flag(flag) for flag in row["qc_flags"]}
        self.scan: Volume | None = None
        if task.case.image is not None and not options.labels_only:
            self.scan = self._read(task.case.image)
            row["image_source_sha256"] = self.scan.sha256
        if isinstance(recipe.instances, Files):
            reference, self.lesions = self._lesions_of_files()
        else:
            assert task.case.mask is not None
            mask = self._aligned(self._read(task.case.mask), task.case.mask)
            row["label_source_sha256"] = mask.sha256
            self.lesions = find_lesions(mask, recipe, task.case.mask.name)
            reference = self.scan or mask
        if Quirk.SLICES_ON_AXIS_0 in recipe.quirks and reference.orientation.axes[2] != 0:
            codes = geometry.axis_codes(reference.stored_affine)
            raise CaseError(
                Reason.UNEXPECTED_AXIS_ORDER,
                f"expected the stored axis 0 to run along the body, header says {codes}; "
                "this is an old download with a wrong header: get the current one",
            )
        self.shape: Triple = reference.ras.shape
        self.affine: Affine = reference.affine
        self.flags |= set(geometry.affine_flags(self.affine))
        self.spacing_mm: tuple[float, ...] | None = geometry.spacing_mm(self.affine)
        if Quirk.IDENTITY_AFFINE_HIDES_SPACING in recipe.quirks and np.array_equal(
            np.abs(reference.stored_affine), np.eye(4)
        ):
            self.spacing_mm = None
            self.flags.add(Flag.SPACING_UNKNOWN)
        self.pad_value_hu: int | None = None
        if options.profile.pad_with_scan_minimum and self.scan is not None:
            self.pad_value_hu = scan_minimum_hu(self.scan)

    def _read(self, path: Path) -> Volume:
        volume = read_volume(self.options.raw / path, self.options.raw, self.options.recipe.quirks)
        self.flags |= set(volume.flags)
        return volume

    def _aligned(self, mask: Volume, path: Path) -> Volume:
        """Return the mask on the scan's grid, or say why it is not."""
        scan = self.scan
        if scan is None:
            return mask
        if mask.ras.shape == scan.ras.shape:
            off = geometry.affine_difference_mm(mask.affine, scan.affine, scan.ras.shape)
            if off <= _SAME_GRID_VOX * min(geometry.spacing_mm(scan.affine)):
                return mask
        if mask.stored.shape != scan.stored.shape:
            raise CaseError(
                Reason.GRID_MISMATCH,
                f"{path.name}: mask has shape {mask.stored.shape} "
                f"({geometry.axis_codes(mask.stored_affine)}), image {scan.stored.shape} "
                f"({geometry.axis_codes(scan.stored_affine)}); they must be one grid, masks are "
                "never resampled",
            )
        if Quirk.IMAGE_AFFINE_WINS not in self.options.recipe.quirks:
            raise CaseError(
                Reason.AFFINE_MISMATCH,
                f"{path.name}: mask {geometry.describe(mask.stored_affine)}, "
                f"image {geometry.describe(scan.stored_affine)}; if the voxels still match one "
                f"by one, list the quirk {Quirk.IMAGE_AFFINE_WINS} in the recipe",
            )
        self.flags.add(Flag.MASK_AFFINE_IGNORED)
        return replace(mask, stored_affine=scan.stored_affine)

    def _lesions_of_files(self) -> tuple[Volume, list[Lesion]]:
        """Lesions by majority vote over the files of each instance."""
        case = self.task.case
        hashes: list[str] = []
        reference = self.scan
        by_number: dict[int, list[Path]] = {}
        for number, _, path in case.instances:
            by_number.setdefault(number, []).append(path)
        if reference is None:
            first = case.instances[0][2] if case.instances else case.mask
            assert first is not None
            reference = self._read(first)

        def votes() -> Iterator[tuple[int, list[Volume]]]:
            for number, paths in by_number.items():
                volumes = [self._aligned(self._read(path), path) for path in paths]
                hashes.extend(volume.sha256 for volume in volumes)
                yield number, volumes

        shape: Triple = reference.ras.shape
        allowed = Quirk.FLOAT_MASK in self.options.recipe.quirks
        lesions = join_votes(votes(), shape, case.case_id, allowed)
        self.row["label_source_sha256"] = hash_of(sorted(hashes)) if hashes else None
        return reference, lesions

    def rows(self) -> Iterator[Row]:
        """Rows of all lesions, or of their absence."""
        if self.task.positions is not None:
            yield from self._replayed(self.task.positions)
            return
        if not self.lesions:
            detail = "the mask holds no voxel of a lesion value; check the recipe if it should"
            yield self._skipped(None, Reason.NO_LESION, detail)
        for lesion in self.lesions:
            if not lesion.kept:
                detail = "the recipe keeps the largest component of a case"
                yield self._skipped(lesion, Reason.NOT_LARGEST_COMPONENT, detail)
                continue
            rule = self.options.recipe.minimum_size
            small = below_minimum(lesion.voxels, rule, self.spacing_mm)
            if small is not None:
                yield self._skipped(lesion, Reason.BELOW_MINIMUM_SIZE, small)
                continue
            for sample in range(self.options.clicks):
                recipe, case_id = self.options.recipe, self.task.case.case_id
                click = click_of(
                    lesion, self.options.profile, self.options.seed, recipe.source, case_id, sample
                )
                name = voi_id(recipe.voi_name, case_id, lesion.index, sample)
                box = box_around(click, self.shape)
                yield self._voi(lesion, sample, name, box, self.affine, set())

    def _skipped(self, lesion: Lesion | None, reason: Reason, detail: str) -> Row:
        row = _ended(self.row, Status.SKIPPED, reason, detail)
        row["qc_flags"] = sorted(self.flags)
        row.update(self._spacing_columns())
        if lesion is not None:
            count = len(lesion.voxels)
            row["lesion_index"] = lesion.index
            row["source_lesion_id"] = lesion.source_lesion_id
            row["mask_voxels"] = count
            if self.spacing_mm is not None:
                row["volume_mm3"] = count * float(np.prod(self.spacing_mm))
        return row

    def _spacing_columns(self) -> dict[str, float | None]:
        spacing = self.spacing_mm or (None, None, None)
        return {f"spacing_{a}_mm": value for a, value in zip("xyz", spacing, strict=True)}

    def _replayed(self, positions: tuple[Position, ...]) -> Iterator[Row]:
        """Rows of the VOIs that a manifest names, and of the lesions that it does not."""
        by_index = {lesion.index: lesion for lesion in self.lesions}
        for position in positions:
            row = {
                **self.row,
                "lesion_index": position.lesion_index,
                "sample_index": position.sample_index,
            }
            lesion = by_index.get(position.lesion_index)
            if lesion is None:
                detail = (
                    f"{position.voi_id}: the mask has lesions {sorted(by_index)[:20]}; "
                    "is this the mask that the manifest was made from?"
                )
                yield _ended(row, Status.FAILED, Reason.REPLAY_LESION_MISSING, detail)
                continue
            try:
                origin, frame, flags = find_origin(position, lesion, self.affine, self.shape)
                box = box_at(origin, self.shape)
                yield self._voi(lesion, position.sample_index, position.voi_id, box, frame, flags)
            except CaseError as error:
                yield _ended(row, Status.FAILED, error.reason, f"{position.voi_id}: {error.detail}")
        named = {position.lesion_index for position in positions}
        for lesion in self.lesions:
            if lesion.index not in named:
                detail = "the replayed manifest does not name this lesion"
                yield self._skipped(lesion, Reason.NOT_IN_REPLAY_MANIFEST, detail)

    def _voi(
        self, lesion: Lesion, sample: int, name: str, box: Box, frame: Affine, flags: set[Flag]
    ) -> Row:
        """Cut, write and describe one VOI."""
        row: Row = {
            **self.row,
            "lesion_index": lesion.index,
            "sample_index": sample,
            "voi_id": name,
            "source_lesion_id": lesion.source_lesion_id,
        }
        try:
            length = len(f"{name}.nii.gz".encode())
            if length > _LONGEST_NAME_BYTES:
                raise CaseError(
                    Reason.NAME_TOO_LONG,
                    f"{length} bytes, a file name has {_LONGEST_NAME_BYTES}; rename the raw files",
                )
            flags = self.flags | flags
            label = cut_label(lesion.voxels, box)
            columns, seen = describe_label(label, self.spacing_mm)
            flags |= seen
            outside = 1 - columns["mask_voxels"] / len(lesion.voxels)
            if outside > 0:
                flags.add(Flag.CUT_BY_VOI)
            edge = (lesion.voxels == 0) | (lesion.voxels == np.array(self.shape) - 1)
            if edge.any():
                flags.add(Flag.AT_SCAN_EDGE)
            affine = geometry.shifted(frame, box.origin)
            row.update(columns)
            row.update(self._spacing_columns())
            row.update(_position_columns(box), fraction_outside_voi=outside)
            row["affine"] = affine.ravel().tolist()
            if self.scan is not None:
                image = cut_image(self.scan, box, self.pad_value_hu)
                flags |= set(image.flags)
                row.update(
                    pad_value_hu=image.pad_value_hu, hu_min=image.hu_min, hu_max=image.hu_max
                )
                self._put(row, "image", f"images/{name}.nii.gz", image.voxels, affine, image.limits)
            self._put(row, "label", f"labels/{LAYER}/{name}.nii.gz", label, affine, (0, 1))
        except CaseError as error:
            return _ended(row, Status.FAILED, error.reason, error.detail)
        row["qc_flags"] = sorted(flags)
        row["status"] = Status.OK.value
        return row

    def _put(
        self,
        row: Row,
        kind: str,
        relative: str,
        voxels: NDArray[np.integer],
        affine: Affine,
        limits: tuple[int, int],
    ) -> None:
        assert voxels.shape == VOI_SHAPE
        path = f"{self.options.recipe.source}/{relative}"
        self.writer.put(row, kind, path, voxels, affine, limits)


def _check_unchanged(task: Task, options: Options) -> None:
    """Refuse files that are not those that were planned: their rows would get another's key."""
    for then, now in zip(task.inputs, task.inputs_now(options.raw), strict=True):
        if then != now:
            raise CaseError(
                Reason.CHANGED_WHILE_READ,
                f"at the start of the run: {then}; now: {now}; give the same command again",
            )


def _position_columns(box: Box) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for at, axis in enumerate("xyz"):
        columns[f"click_{axis}_vox"] = box.click[at]
        columns[f"voi_origin_{axis}_vox"] = box.origin[at]
        columns[f"pad_before_{axis}_vox"] = box.pad_before[at]
        columns[f"pad_after_{axis}_vox"] = box.pad_after[at]
    return columns
