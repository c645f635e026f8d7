"""What a model has seen: its passport, and which rows of manifests are in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from uls_data.passports.document import (
    Passport,
    PassportError,
    read_passport,
    union,
    write_passport,
)
from uls_data.passports.seen import Seen, seen_by

_MAGIC = b"PAR1"
Paths = str | Path | Sequence[str | Path]


def passport(models: Paths, *, out: str | Path | None = None, fold: str | None = None) -> Passport:
    """Passport of a model, or one of several that are averaged.

    Parameters
    ----------
    models : path or sequence of paths
        Model folders, checkpoints, or passports. A model without a passport is a stage of kind
        `unknown` beside those that have one.
    out : path, optional
        Where to write it; needed for several.
    fold : str, optional
        Only this fold of a model folder.

    Raises
    ------
    ModelError, PassportError
        No model, none with a passport, or one that is not its model's.
    """
    several = [models] if isinstance(models, str | Path) else list(models)
    files = [Path(path) for path in several]
    known = [read_passport(path) for path in files if is_passport(path)]
    others = [path for path in files if not is_passport(path)]
    strange = []
    if others:
        # Loads torch, which takes longer than to compare a million rows.
        from uls_data.network.ancestry import passports_of, unknown_stage

        found = passports_of(others, fold)
        known += [one for _, one in found if one is not None]
        strange = [unknown_stage(file) for file, one in found if one is None]
    if not known:
        raise PassportError(
            f"{', '.join(map(str, several))}: no passport: not trained by uls-data, or before it "
            "wrote them. `uls-data passport --from` makes one of a list of what trained it"
        )
    if len(known) == 1 and not strange and out is None:
        return known[0]
    if out is None:
        raise PassportError(f"{', '.join(map(str, several))}: several passports: name --out")
    stages, rows = union(known)
    stages += sorted(strange, key=lambda stage: stage.init_sha256 or "")
    try:
        write_passport(stages, rows, Path(out))
    except OSError as error:
        raise PassportError(f"{out}: cannot be written: {error.strerror}") from error
    return read_passport(out)


def audit_against(manifests: Paths, models: Paths) -> Seen:
    """Which rows of manifests a model has seen; see `uls_data.passports.seen.seen_by`.

    Parameters
    ----------
    models : path or sequence of paths
        Model folders, checkpoints, or passports; of several, the rows that any has seen.

    Raises
    ------
    ManifestError, ModelError, PassportError
    """
    with TemporaryDirectory(prefix="uls-data-passport-") as folder:
        several = [models] if isinstance(models, str | Path) else list(models)
        alone = len(several) == 1 and is_passport(Path(several[0]))
        out = None if alone else Path(folder) / "passport.parquet"
        return seen_by(passport(several, out=out), manifests)


def is_passport(path: Path) -> bool:
    """Whether a path is taken for a passport: any Parquet file, by its name or its first bytes."""
    if path.suffix == ".parquet":
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC
