"""What one build was asked to do; sent to every worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uls_data.geometry import Triple
from uls_data.ids import hash_of, readable
from uls_data.profile import Profile
from uls_data.readers.pairs import CaseFiles
from uls_data.recipe.model import Recipe

# Raised when the same inputs and recipe would give other files or rows.
STEP_VERSION = 1


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

    def key(self) -> str:
        """Hash of everything that decides the output, input files apart."""
        return hash_of(
            [
                f"step {STEP_VERSION}",
                self.recipe_sha256,
                repr(self.profile),
                f"seed {self.seed} clicks {self.clicks} labels-only {self.labels_only}",
                f"replayed {self.replayed}",
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
    """One case to build; `positions` is None where clicks are drawn."""

    case: CaseFiles
    positions: tuple[Position, ...] | None = None

    def key(self, options: Options) -> str:
        """Hash of options and inputs: size and time of every file, never its content."""
        lines = [options.key(), self.case.case_id, repr(self.case.problem), repr(self.positions)]
        return hash_of([*lines, *self.inputs(options)])

    def inputs(self, options: Options) -> list[str]:
        """Name, size and time of every input file, a line each."""
        lines = []
        for path in self.case.files():
            name = readable(path.as_posix())
            try:
                status = (options.raw / path).stat()
                lines.append(f"{name} {status.st_size} {status.st_mtime_ns}")
            except OSError as error:
                lines.append(f"{name} {type(error).__name__}")
        return lines


Row = dict[str, Any]
