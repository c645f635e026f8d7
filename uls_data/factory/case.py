"""One case: decode its scan once, cut every lesion of it, and write down what happened."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from uls_data import geometry
from uls_data.errors import CaseError, UlsDataError
from uls_data.factory.layers import Layer, Measurements, annotated_layers
from uls_data.factory.options import Built, Options, Position, Task
from uls_data.factory.plausible import check_hu
from uls_data.factory.replay import find_origin
from uls_data.factory.rows import (
    case_row,
    ended,
    line_columns,
    position_columns,
    stated_columns,
    told,
)
from uls_data.factory.writer import Writer
from uls_data.geometry import Affine, Triple
from uls_data.ids import voi_id
from uls_data.lesions import Lesion, click_of, click_source, flag_shared
from uls_data.manifest.by_axis import spacing_columns
from uls_data.manifest.row import Row
from uls_data.measure.label import describe_label
from uls_data.measure.size import below_minimum
from uls_data.outcome import Flag, Reason, Status
from uls_data.pictures.thumbnail import thumbnail_path
from uls_data.pictures.thumbnails import thumbnail_later
from uls_data.sources.open import open_case
from uls_data.voi import (
    VOI_SHAPE,
    Box,
    VoiImage,
    box_around,
    box_at,
    cut_image,
    cut_label,
    extent,
    scan_minimum_hu,
)

_LONGEST_NAME_BYTES = 255
_SHOWN = 10


def build_case(task: Task, options: Options, staging: Path) -> Built:
    """Build one case; returns its rows, whatever happens to it, and its files.

    Raises
    ------
    SourceError
        The output cannot be written: no other case would fare better.
    """
    row = case_row(task, options)
    try:
        _check_unchanged(task, options)
        if task.case.problem is not None:
            raise CaseError(*task.case.problem)
        if task.positions == ():
            detail = "the replayed manifest does not name this case"
            return Built([ended(row, Status.SKIPPED, Reason.NOT_IN_REPLAY_MANIFEST, detail)])
        with Writer(staging) as writer:
            rows = list(_Case(task, options, row, writer).rows())
            _check_unchanged(task, options)
        return Built(rows, writer.folder if writer.files else None, tuple(writer.files))
    except CaseError as error:
        reason, detail = error.reason, error.detail
        try:
            # What is wrong with files that went or changed meanwhile is not the case's own.
            _check_unchanged(task, options)
        except CaseError as changed:
            reason, detail = changed.reason, changed.detail
    except UlsDataError:
        raise
    except MemoryError:
        reason = Reason.OUT_OF_MEMORY
        detail = "not enough memory for this case; build it alone (--only) or with fewer --workers"
    except Exception as error:
        reason = Reason.INTERNAL_ERROR
        where = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
    return Built([ended(row, reason.status, reason, detail)])


def lost_case(task: Task, detail: str, options: Options, reason: Reason) -> Built:
    """Row of a case that was stopped: its worker died, or took too long."""
    return Built([ended(case_row(task, options), Status.FAILED, reason, detail)])


class _Case:
    """One opened case while its lesions are cut."""

    def __init__(self, task: Task, options: Options, row: Row, writer: Writer) -> None:
        self.task, self.options, self.row, self.writer = task, options, row, writer
        recipe = options.recipe
        opened = open_case(
            task.case,
            recipe,
            options.raw,
            labels_only=not options.needs_scan,
            profile=options.profile,
        )
        self.scan, self.marks = opened.scan, opened.marks
        self.lesions = flag_shared(opened.lesions)
        self.found, self.selected = opened.found, opened.selected
        row["image_source_sha256"] = opened.image_sha256
        row["label_source_sha256"] = opened.label_sha256
        reference = opened.reference
        self.shape: Triple = reference.ras.shape
        self.affine: Affine = reference.affine
        self.flags = {Flag(flag) for flag in row["qc_flags"]} | opened.flags
        self.flags |= set(geometry.affine_flags(self.affine))
        if self.scan is not None:
            self.flags |= check_hu(self.scan)
        self.spacing_mm: tuple[float, ...] | None = geometry.spacing_mm(self.affine)
        if Flag.SPACING_UNKNOWN in self.flags:
            self.spacing_mm = None
        if recipe.hides_spacing(geometry.spacing_mm(self.affine)):
            self.spacing_mm = None
            self.flags.add(Flag.SPACING_UNKNOWN)
        self.pad_value_hu: int | None = None
        if options.profile.pad_with_scan_minimum and self.scan is not None:
            self.pad_value_hu = scan_minimum_hu(self.scan)
        self.measurements = Measurements(
            options, task.case.case_id, self.scan, self.shape, self.spacing_mm
        )

    def rows(self) -> Iterator[Row]:
        """Rows of all lesions, or of their absence, and of what is marked but no lesion.

        A structure that none of them names is a failed row: nothing vanishes.
        """
        by_index = {lesion.index: lesion.source_lesion_id for lesion in self.lesions}
        told = set[str]()
        for row in self._every_row():
            name = row.get("source_lesion_id") or by_index.get(row["lesion_index"] or 0) or ""
            # Several structures may be one lesion, and one lesion a row for each reader.
            told.update((name, *name.partition("@")[0].split("+")))
            yield row
        if lost := sorted(self.selected - told):
            names = ", ".join(lost[:_SHOWN])
            detail = f"{len(lost)} structures, such as {names}, ended in no row: please report this"
            yield self._skipped(None, Reason.UNACCOUNTED, detail)

    def _every_row(self) -> Iterator[Row]:
        yield from self._lesion_rows()
        behind = max((lesion.index for lesion in self.lesions), default=0)
        for number, mark in enumerate(self.marks, behind + 1):
            row = self._skipped(None, mark.reason, mark.detail)
            row |= {"lesion_index": number, "source_lesion_id": mark.source_lesion_id}
            yield row

    def _lesion_rows(self) -> Iterator[Row]:
        if self.task.positions is not None:
            yield from self._replayed(self.task.positions)
            return
        if not self.lesions and not self.marks:
            detail = "the mask holds no voxel of a lesion value"
            if self.found:
                detail += f": {self.found}"
            detail += "; check the recipe if it should"
            yield self._skipped(None, Reason.NO_LESION, detail)
        for lesion in self.lesions:
            prepared = self._prepared(lesion)
            if isinstance(prepared, dict):
                yield prepared
                continue
            lesion, layers = prepared
            for sample in range(self.options.clicks):
                recipe, case_id = self.options.recipe, self.task.case.case_id
                click = click_of(
                    lesion, self.options.profile, self.options.seed, recipe.source, case_id, sample
                )
                name = voi_id(recipe.voi_name, case_id, lesion.index, sample)
                box = box_around(click, self.shape)
                yield from self._voi(lesion, layers, sample, name, box, self.affine, set())

    def _prepared(self, lesion: Lesion) -> tuple[Lesion, list[Layer]] | Row:
        """Return a lesion with the voxels to click on and its masks; or the row that ends it.

        A manifest that is replayed names its lesions: no rule leaves one out.
        """
        replayed = self.task.positions is not None
        by_rule = lesion.skipped is not None and lesion.skipped[0].status == Status.SKIPPED
        ours = replayed and by_rule and (len(lesion.voxels) or lesion.measured)
        if lesion.skipped is not None and not ours:
            return self._skipped(lesion, *lesion.skipped)
        lines = None
        try:
            if lesion.measured:
                lines = self.measurements.chosen(lesion).lines
                lesion = self.measurements.clickable(lesion)
            rule = None if replayed else self.options.recipe.minimum_size
            small = below_minimum(lesion.voxels, rule, self.spacing_mm, lines)
            if small is not None:
                return self._skipped(lesion, Reason.BELOW_MINIMUM_SIZE, small)
            if not lesion.measured:
                return lesion, annotated_layers(lesion)
            layers = list(self.measurements.layers(lesion))
        except CaseError as error:
            return self._skipped(lesion, error.reason, error.detail)
        if self.options.profile.click_from_mask:
            lesion = replace(lesion, voxels=layers[0].voxels)
        return lesion, layers

    def _skipped(self, lesion: Lesion | None, reason: Reason, detail: str) -> Row:
        row = ended(self.row, reason.status, reason, detail)
        row |= {**spacing_columns(self.spacing_mm), "qc_flags": sorted(self.flags)}
        if lesion is None:
            return row
        row.update(told(lesion))
        row["lesion_index"] = lesion.index
        row["source_lesion_id"] = lesion.source_lesion_id
        row["agreement_level"] = lesion.agreement
        row["qc_flags"] = sorted(self.flags | set(lesion.flags))
        if lesion.measured:
            measured = self.measurements.chosen(lesion)
            lines = measured.lines
            row |= {"recist_long_vox": lines.long_vox, "recist_short_vox": lines.short_vox}
            row |= stated_columns(measured)
        if not len(lesion.voxels) or lesion.measured:
            return row
        count = len(lesion.voxels)
        row["mask_voxels"] = count
        if self.spacing_mm is not None:
            row["volume_mm3"] = count * float(np.prod(self.spacing_mm))
        return row

    def _replayed(self, positions: tuple[Position, ...]) -> Iterator[Row]:
        """Rows of the VOIs that a manifest names, and of the lesions that it does not."""
        by_index = {lesion.index: lesion for lesion in self.lesions}
        for position in positions:
            row: Row = {
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
                yield ended(row, Status.FAILED, Reason.REPLAY_LESION_MISSING, detail)
                continue
            prepared = self._prepared(lesion)
            if isinstance(prepared, dict):
                yield {**prepared, "sample_index": position.sample_index}
                continue
            lesion, layers = prepared
            try:
                near = layers[0].measured
                origin, frame, flags = find_origin(
                    position,
                    layers[0].voxels,
                    self.affine,
                    self.shape,
                    None if near is None else (near.lines, near.slice_vox),
                )
                box = box_at(origin, self.shape)
                yield from self._voi(
                    lesion, layers, position.sample_index, position.voi_id, box, frame, flags
                )
            except CaseError as error:
                yield ended(row, Status.FAILED, error.reason, f"{position.voi_id}: {error.detail}")
        named = {position.lesion_index for position in positions}
        for lesion in self.lesions:
            if lesion.index not in named:
                detail = "the replayed manifest does not name this lesion"
                yield self._skipped(lesion, Reason.NOT_IN_REPLAY_MANIFEST, detail)

    def _voi(
        self,
        lesion: Lesion,
        layers: list[Layer],
        sample: int,
        name: str,
        box: Box,
        frame: Affine,
        flags: set[Flag],
    ) -> Iterator[Row]:
        """Cut, write and describe one VOI: a row for each of its masks."""
        shared: Row = {
            **self.row,
            **told(lesion),
            "lesion_index": lesion.index,
            "sample_index": sample,
            "voi_id": name,
            "source_lesion_id": lesion.source_lesion_id,
            "click_source": click_source(lesion, sample),
        }
        try:
            length = len(f"{name}.nii.gz".encode())
            if length > _LONGEST_NAME_BYTES:
                raise CaseError(
                    Reason.NAME_TOO_LONG,
                    f"{length} bytes, a file name has {_LONGEST_NAME_BYTES}; rename the raw files",
                )
            affine = geometry.shifted(frame, box.origin)
            shared |= {**spacing_columns(self.spacing_mm), "affine": affine.ravel().tolist()}
            shared.update(position_columns(box))
            flags = self.flags | flags | set(lesion.flags)
            image = None
            if self.scan is not None and not self.options.labels_only:
                image = cut_image(self.scan, box, self.pad_value_hu)
                flags |= set(image.flags)
                shared["pad_value_hu"] = image.pad_value_hu
                shared |= {"hu_min": image.hu_min, "hu_max": image.hu_max}
            rows = [self._label(shared, layer, box, affine, flags, image) for layer in layers]
            made = [row for row in rows if row["status"] == Status.OK]
            if image is not None and made:
                self._put(
                    made, "image", f"images/{name}.nii.gz", image.voxels, affine, image.limits
                )
        except CaseError as error:
            rows = [ended(shared, Status.FAILED, error.reason, error.detail)]
        yield from rows

    def _label(
        self,
        shared: Row,
        layer: Layer,
        box: Box,
        affine: Affine,
        flags: set[Flag],
        image: VoiImage | None,
    ) -> Row:
        """Cut, write, draw and describe the label of one layer."""
        row: Row = {**shared, **layer.columns, "layer": layer.name}
        if layer.measured is not None:
            row.update(line_columns(layer.measured, box))
        if layer.problem is not None:
            return ended(
                row, layer.problem.reason.status, layer.problem.reason, layer.problem.detail
            )
        voxels = layer.voxels
        label, within = cut_label(voxels, box), extent(voxels, box)
        if not label[tuple(map(slice, *within))].any():
            detail = f"the mask of {layer.name} lies outside the VOI"
            return ended(row, Status.SKIPPED, Reason.NO_LESION, detail)
        columns, seen = describe_label(label, self.spacing_mm, within)
        outside = 1 - columns["mask_voxels"] / len(voxels)
        if outside > 0:
            seen.add(Flag.CUT_BY_VOI)
        edges = (voxels == 0) | (voxels == np.array(self.shape) - 1)
        # A mask on one slice says nothing of the slices beyond the first and the last.
        if edges[:, : 2 if layer.flat else 3].any():
            seen.add(Flag.AT_SCAN_EDGE)
        row = {**row, **columns, "fraction_outside_voi": outside, "status": Status.OK.value}
        row["qc_flags"] = sorted(flags | seen)
        path = f"labels/{layer.name}/{row['voi_id']}.nii.gz"
        self._put([row], "label", path, label, affine, (0, 1))
        if image is not None:
            picture = thumbnail_later(label, within, row, image.voxels, image.pad_value_hu)
            self.writer.put_picture(f"{self.options.recipe.source}/{thumbnail_path(path)}", picture)
        return row

    def _put(
        self,
        rows: list[Row],
        kind: str,
        relative: str,
        voxels: NDArray[np.integer],
        affine: Affine,
        limits: tuple[int, int],
    ) -> None:
        assert voxels.shape == VOI_SHAPE
        path = f"{self.options.recipe.source}/{relative}"
        self.writer.put(rows, kind, path, voxels, affine, limits)


def _check_unchanged(task: Task, options: Options) -> None:
    """Refuse files that are not those that were planned: their rows would get another's key."""
    for then, now in zip(task.inputs, task.inputs_now(options.raw), strict=True):
        if then != now:
            raise CaseError(
                Reason.CHANGED_WHILE_READ,
                f"at the start of the run: {then}; now: {now}; run the same command again",
            )
