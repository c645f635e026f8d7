"""One case while it is opened: what every format reads in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from uls_data import geometry
from uls_data.errors import CaseError
from uls_data.ids import hash_of
from uls_data.io import sha256_file
from uls_data.lesions.instances import Lesion, Mark
from uls_data.outcome import Flag, Reason
from uls_data.profile import PROFILES, Profile
from uls_data.recipe.model import Quirk, Recipe
from uls_data.recipe.part import DicomPolicy
from uls_data.sources.case_files import CaseFiles
from uls_data.volumes import Volume, read_volume
from uls_data.volumes.subgrid import on_grid_of

if TYPE_CHECKING:
    from uls_data.dicom.phases import DrawnOn
    from uls_data.dicom.series import Series

# Two headers describe one grid if no corner of it moves by more of a voxel than this.
_SAME_GRID_VOX = 0.1


@dataclass
class Opened:
    """One case in memory.

    Attributes
    ----------
    reference : Volume
        The volume on whose grid the lesions are indexed: the scan, or without it the mask.
    scan : Volume or None
        None where images are not wanted.
    lesions : list of Lesion
        By number.
    marks : list of Mark
        What the source marks and is not a lesion mask.
    flags : set of Flag
    image_sha256, label_sha256 : str or None
    found : str
        What there is where lesions were looked for and none was found.
    selected : frozenset of str
        What the source calls the structures that the recipe selects, entered when they are seen,
        before anything is decided about them: each must end in a row.
    """

    reference: Volume
    scan: Volume | None
    lesions: list[Lesion]
    marks: list[Mark] = field(default_factory=list)
    flags: set[Flag] = field(default_factory=set)
    image_sha256: str | None = None
    label_sha256: str | None = None
    found: str = ""
    selected: frozenset[str] = frozenset()


@dataclass
class Opening:
    """A case while it is opened, and what formats share in reading it.

    Attributes
    ----------
    case : CaseFiles
        Without a problem.
    recipe : Recipe
    raw : Path
        Raw root.
    labels_only : bool
        Leave the image unread where the lesions can be told without it.
    profile : Profile
        For sources whose lesions are measurements.
    flags : set of Flag
        Of everything read so far.
    selected : set of str
        Structures seen so far; see `Opened`.
    """

    case: CaseFiles
    recipe: Recipe
    raw: Path
    labels_only: bool = False
    profile: Profile = PROFILES["paper"]
    flags: set[Flag] = field(default_factory=set)
    selected: set[str] = field(default_factory=set)

    def image(self) -> Volume | None:
        """Image volume of the case; None where it is not wanted."""
        if self.labels_only or self.case.image is None:
            return None
        return self.read(self.case.image)

    def series(self, policy: DicomPolicy, drawn_on: DrawnOn | None = None) -> Series:
        """Slices of the case as one even stack.

        Parameters
        ----------
        drawn_on : callable, optional
            Says which slices annotations name, to choose by where the series holds several stacks.

        Raises
        ------
        CaseError
            They are none.
        """
        from uls_data.dicom.series import SeriesPolicy, read_series

        asked = SeriesPolicy(**policy.model_dump())
        series = read_series(self.case.slices, self.raw, asked, drawn_on)
        self.flags |= set(series.volume.flags)
        return series

    def read(self, path: Path) -> Volume:
        """Read a volume, by its path below the raw root."""
        volume = read_volume(self.raw / path, self.raw, self.recipe.quirks)
        self.flags |= set(volume.flags)
        return volume

    def aligned(self, mask: Volume, path: Path, scan: Volume | None) -> Volume:
        """Return the mask on the scan's grid, or say why it is not."""
        if scan is None:
            return mask
        if mask.ras.shape == scan.ras.shape:
            off = geometry.affine_difference_mm(mask.affine, scan.affine, scan.ras.shape)
            if off <= _SAME_GRID_VOX * min(geometry.spacing_mm(scan.affine)):
                return mask
        placed = on_grid_of(mask, scan) if mask.ras.shape != scan.ras.shape else None
        if placed is not None:
            self.flags.add(Flag.MASK_ON_SUBGRID)
            return placed
        if mask.stored.shape != scan.stored.shape:
            raise CaseError(
                Reason.GRID_MISMATCH,
                f"{path.name}: mask has shape {mask.stored.shape} "
                f"({geometry.axis_codes(mask.stored_affine)}), image {scan.stored.shape} "
                f"({geometry.axis_codes(scan.stored_affine)}); they must be one grid, masks are "
                "never resampled",
            )
        # A header that lost its spacing says nothing of a place either.
        small = geometry.same_but_flipped(
            mask.stored_affine, scan.stored_affine, mask.stored.shape
        ) or self.recipe.hides_spacing(geometry.spacing_mm(mask.affine))
        if not small or Quirk.IMAGE_AFFINE_WINS not in self.recipe.quirks:
            raise CaseError(
                Reason.AFFINE_MISMATCH,
                f"{path.name}: mask {geometry.describe(mask.stored_affine)}, "
                f"image {geometry.describe(scan.stored_affine)}; "
                + (
                    "if the voxels still match one by one, list the quirk "
                    f"{Quirk.IMAGE_AFFINE_WINS} in the recipe"
                    if small
                    else "more than flipped axes, an origin within a voxel and a spacing within "
                    "1 % apart: is it the mask of another scan? Export it again"
                ),
            )
        self.flags.add(Flag.MASK_AFFINE_IGNORED)
        return replace(mask, stored_affine=scan.stored_affine)

    def of_series(
        self, series: Series, lesions: list[Lesion], marks: Sequence[Mark] = ()
    ) -> Opened:
        """Lesions of a series, with the hash of the annotations that they come from."""
        return self.annotated(series.volume, lesions, marks)

    def annotated(
        self, volume: Volume, lesions: list[Lesion], marks: Sequence[Mark] = ()
    ) -> Opened:
        """Lesions of a volume, with the hash of the annotations that they come from."""
        hashes = sorted(sha256_file(self.raw / path) for path in self.case.annotations)
        sha256 = hashes[0] if len(hashes) == 1 else hash_of(hashes)
        scan = None if self.labels_only else volume
        return self.result(volume, scan, lesions, marks, sha256)

    def result(
        self,
        reference: Volume,
        scan: Volume | None,
        lesions: list[Lesion],
        marks: Sequence[Mark] = (),
        label_sha256: str | None = None,
    ) -> Opened:
        """Return what was opened, with the flags seen on the way."""
        image_sha256 = scan.sha256 if scan is not None else None
        return Opened(
            reference,
            scan,
            lesions,
            list(marks),
            self.flags,
            image_sha256,
            label_sha256,
            selected=frozenset(self.selected),
        )
