"""Passports of models: written by every training, read from beside its checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from uls_data.ids import hash_of
from uls_data.io import sha256_file
from uls_data.manifest.parquet import manifest_files
from uls_data.manifest.patients import patient_key
from uls_data.network.checkpoint import OURS, checkpoints_of, read_checkpoint
from uls_data.network.examples import Examples
from uls_data.network.plan import Plan
from uls_data.outcome import Status
from uls_data.passports.document import (
    HELDOUT,
    LEFT_OUT,
    NAME,
    TRAINED,
    Passport,
    PassportError,
    Stage,
    read_passport,
    union,
    write_passport,
)
from uls_data.passports.stages import Role, stage_of

_IDENTITY = ("source", "case_id", "lesion_index", "sample_index", "layer")
_TOLD = ("seed", "steps", "weak", "include_heldout", "init_sha256", "software_version", "request")


class Given:
    """What a training was given, for its passport.

    Parameters
    ----------
    manifests : path or sequence of paths
    found : Examples
    layers : collection of str
    init : path or None
        Model that it starts from.
    """

    def __init__(
        self,
        manifests: str | Path | Sequence[str | Path],
        found: Examples,
        layers: Collection[str],
        init: str | Path | None,
    ) -> None:
        self._files = manifest_files(manifests)
        self._found, self._layers, self._init = found, sorted(layers), init

    def write(self, folder: Path, plan: Plan, record: dict[str, Any]) -> str:
        """Write the passport into the checkpoint's folder; returns its SHA-256.

        Raises
        ------
        PassportError
            That of the model before is not its own.
        """
        before: list[Passport] = []
        unknown: list[Stage] = []
        if self._init is not None:
            (checkpoint,) = checkpoints_of(Path(self._init))
            passport = _beside(checkpoint)
            if passport is None:
                unknown = [unknown_stage(checkpoint)]
            else:
                before = [passport]
        about = {name: record[name] for name in _TOLD}
        own, rows = stage_of(
            self._files,
            self._roles(),
            kind="train",
            name=plan.name,
            plan_sha256=hash_of([plan.model_dump_json()]),
            layers=tuple(self._layers),
            left_out=dict(sorted(self._found.left_out.items())),
            **about,
        )
        stages, others = union(before, [*unknown, own])
        if unknown:
            stages[-1] = own.model_copy(update={"after": (0,)})
        tables = chain(others, rows.numbered(len(stages) - 1))
        return write_passport(stages, tables, folder / NAME)

    def _roles(self) -> Role:
        """Say what each row was: trained on, held out, or of a patient who trained nothing."""
        roles = {example.identity: HELDOUT for example in self._found.heldout}
        roles |= {example.identity: TRAINED for example in self._found.train}
        patients = {patient_key(example.row) for example in self._found.train}

        def role_of(row: dict[str, Any]) -> str | None:
            if row["status"] != Status.OK:
                return None
            role = roles.get(tuple(row[name] for name in _IDENTITY))
            if role is None and patient_key(row) not in patients:  # type: ignore[arg-type]
                return LEFT_OUT
            return role

        columns = (*_IDENTITY, "patient_id", "status", "voi_id")
        return lambda table: [role_of(row) for row in table.select(columns).to_pylist()]


def passports_of(
    models: str | Path | Sequence[str | Path], fold: str | None = None
) -> list[tuple[Path, Passport | None]]:
    """Passports of models, one a checkpoint; None where a checkpoint has none.

    Parameters
    ----------
    models : path or sequence of paths
        As `load_model` takes them.

    Returns
    -------
    list of (Path, Passport or None)
        Checkpoint and passport.

    Raises
    ------
    ModelError, PassportError
        No checkpoint, or a passport that is not the one which the checkpoint names.
    """
    paths = [models] if isinstance(models, str | Path) else models
    files = [file for path in paths for file in checkpoints_of(Path(path), fold)]
    return [(file, _beside(file)) for file in files]


def unknown_stage(checkpoint: Path) -> Stage:
    """Stage of a model whose training nobody can tell."""
    return Stage(
        kind="unknown", name="a model without a passport", init_sha256=sha256_file(checkpoint)
    )


def _beside(checkpoint: Path) -> Passport | None:
    """Passport that a checkpoint names, from the file beside it; None if it names none."""
    record = read_checkpoint(checkpoint).get(OURS)
    sha256 = record.get("passport_sha256") if isinstance(record, dict) else None
    path = checkpoint.with_name(NAME)
    if sha256 is None:
        return None
    if not isinstance(sha256, str):
        raise PassportError(f"{checkpoint}: passport_sha256 is not a hash")
    if not path.is_file():
        raise PassportError(
            f"{path}: not there, though its checkpoint names it ({sha256[:16]}): copy it from "
            "where the model was trained"
        )
    return read_passport(path, sha256)
