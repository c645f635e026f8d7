"""What one build was asked to do, sent to every worker; and what a worker sends back."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from uls_data.geometry import Triple
from uls_data.ids import hash_of, readable
from uls_data.manifest.row import Row
from uls_data.profile import Profile
from uls_data.pseudomask.methods import NEEDS_IMAGE
from uls_data.recipe.model import Recipe
from uls_data.sources.case_files import CaseFiles
from uls_data.volumes.metaheader import voxel_files

# Raised when the same inputs and recipe would give other files or rows.
STEP_VERSION = 5


@dataclass(frozen=True)
class Options:
    """Parameters of a build that decide its output."""

    recipe: Recipe
    recipe_sha256: str
    raw: Path
    out: Path
    profile: Profile
    seed: int
    clicks: int
    labels_only: bool
    replayed: bool
    masks: tuple[str, ...] = ()
    """Methods, for a source whose lesions are measurements."""
    calibration: str = ""
    """A user's own calibration of the jury, as the text of its file."""

    @property
    def needs_scan(self) -> bool:
        """Whether images are read: they are written, or masks are made from them."""
        return not self.labels_only or any(method in NEEDS_IMAGE for method in self.masks)

    def key(self) -> str:
        """Hash of everything that decides the output, input files apart."""
        return hash_of(
            [
                f"step {STEP_VERSION}",
                self.recipe_sha256,
                repr(self.profile),
                f"seed {self.seed} clicks {self.clicks} labels-only {self.labels_only}",
                f"replayed {self.replayed}",
                *(f"mask {method}" for method in self.masks),
                *([f"calibration {self.calibration}"] if self.calibration else []),
            ]
        )


@dataclass(frozen=True)
class Position:
    """Where a manifest says that one VOI lies.

    Attributes
    ----------
    affine : tuple of 16 float
        VOI index to patient space, row by row.
    origin : tuple of 3 int, or None
        Scan index of VOI index 0, where the manifest knows it.
    label_voxels_sha256 : str or None
        Of the label it describes.
    """

    voi_id: str
    lesion_index: int
    sample_index: int
    affine: tuple[float, ...]
    origin: Triple | None
    label_voxels_sha256: str | None


@dataclass(frozen=True)
class Task:
    """One case to build.

    Attributes
    ----------
    positions : tuple of Position, or None
        None where clicks are drawn.
    inputs : tuple of str
        Name, size and time of every input file when the case was planned, a line each.
    """

    case: CaseFiles
    positions: tuple[Position, ...] | None = None
    inputs: tuple[str, ...] = ()

    def planned(self, raw: Path) -> Task:
        """Return the task with its inputs as they are now."""
        return replace(self, inputs=self.inputs_now(raw))

    def key(self, options_key: str) -> str:
        """Hash of options and inputs: size and time of every file, never its content."""
        case = self.case
        return hash_of(
            [
                options_key,
                case.case_id,
                repr(case.problem),
                repr(self.positions),
                *self.inputs,
                *(f"flag {flag}" for flag in case.flags),
                *([] if case.study_day is None else [f"day {case.study_day}"]),
            ]
        )

    def inputs_now(self, raw: Path) -> tuple[str, ...]:
        """Look at the input files again."""
        lines = []
        for path in self.case.files():
            lines += [self._line(raw, one) for one in (path, *voxel_files(raw, path))]
        return tuple(lines)

    @staticmethod
    def _line(raw: Path, path: Path) -> str:
        name = readable(path.as_posix())
        try:
            status = os.stat(os.path.join(raw, path))  # noqa: PTH116, PTH118 - of every file
        except OSError as error:
            return f"{name} {type(error).__name__}"
        return f"{name} {status.st_size} {status.st_mtime_ns}"


@dataclass(frozen=True)
class Built:
    """What became of one case; its files have no names yet.

    Attributes
    ----------
    rows : list of dict
    folder : Path or None
        Where the files wait, called `0`, `1`, ...; None where there are none.
    files : tuple of str
        Names that they are to get, relative to OUT.
    """

    rows: list[Row]
    folder: Path | None = None
    files: tuple[str, ...] = ()
