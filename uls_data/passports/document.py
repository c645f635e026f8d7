"""A passport: one Parquet file, its stages in the footer and its rows in canonical order.

It is beside the checkpoint, which carries its SHA-256: five million rows inside a checkpoint
would have to be read with every loading of the weights, while of a Parquet file a comparison
reads seven columns, a part at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from uls_data.errors import UlsDataError
from uls_data.ids import hash_of
from uls_data.io import atomic_write, sha256_file

NAME = "passport.parquet"
TRAINED, HELDOUT, LEFT_OUT = "trained", "heldout", "left_out"
ROLES = (TRAINED, HELDOUT, LEFT_OUT)
HASHES = (
    *("image_sha256", "image_voxels_sha256", "image_source_sha256"),
    *("label_sha256", "label_voxels_sha256", "label_source_sha256"),
)
_NUMBERS = ("lesion_index", "sample_index", "recipe_version", "seed")
# Columns of a manifest, in the passport's order.
COLUMNS = (
    *("source", "case_id", "patient_id", "lesion_index", "sample_index", "layer", "parent_layer"),
    *("voi_id", "study_instance_uid", "series_instance_uid", *HASHES, "recipe_version"),
    *("recipe_sha256", "software_version", "profile", "seed", "model_sha256", "certificate"),
)
_KEY = b"uls_data.passport"
_MOST_ROWS = 1 << 28
MOST_GROUP_ROWS = 1 << 17
_MOST_GROUP_BYTES = 1 << 30
_MOST_HEADER_BYTES = 16 << 20
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Text = Annotated[str, Field(max_length=4096)]
_Count = Annotated[int, Field(ge=0)]


class PassportError(UlsDataError):
    """A passport, or what one is to be made from, cannot be used."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Release(_Part):
    """Release that a manifest lies in, as its record states."""

    version: _Text
    sha256: _Hash


class File(_Part):
    """A file that rows were read from: a manifest, a datalist."""

    name: _Text
    sha256: _Hash
    release: Release | None = None


class Stage(_Part):
    """One training, and what it was given."""

    kind: Literal["train", "given", "unknown"]
    """`given`: as somebody states (`passport --from`); `unknown`: nobody can say."""
    after: tuple[_Count, ...] = ()
    """Numbers of the stages before it, which its weights come from."""
    name: _Text
    request: _Hash | None = None
    """Over plan, options and every row that it was given."""
    plan_sha256: _Hash | None = None
    init_sha256: _Hash | None = None
    """Of the checkpoint that it started from."""
    seed: int | None = None
    steps: _Count | None = None
    weak: _Text | None = None
    layers: tuple[_Text, ...] = ()
    include_heldout: bool | None = None
    software_version: _Text | None = None
    files: tuple[File, ...] = ()
    corrections: tuple[_Text, ...] = ()
    """Overlays behind the corrected masks that it was given: their changes, a line each."""
    rows: dict[Literal["trained", "heldout", "left_out"], _Count] = {}
    left_out: dict[_Text, _Count] = {}
    """Rows of its manifests that did not train, by reason."""
    unread: _Count = 0
    """Files that were listed and could not be read, so that their hashes are not known."""


class Stages(_Part):
    """Header of a passport."""

    passport_version: Literal[1] = 1
    stages: tuple[Stage, ...]

    def text(self) -> bytes:
        """Canonical bytes: sorted keys, no spaces."""
        content = self.model_dump(mode="json")
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Passport:
    """A passport on disk.

    Attributes
    ----------
    path : Path
    sha256 : str
        Of its file: what the checkpoint carries.
    stages : tuple of Stage
    rows : int
    """

    path: Path
    sha256: str
    stages: tuple[Stage, ...]
    rows: int

    @property
    def complete(self) -> bool:
        """Whether every stage behind the weights is known, and every file of it was read."""
        return all(stage.kind != "unknown" and not stage.unread for stage in self.stages)

    def tables(
        self, columns: Sequence[str] | None = None, coded: Sequence[str] = ()
    ) -> Iterator[pa.Table]:
        """Rows, one row group in memory at a time.

        Parameters
        ----------
        coded : sequence of str
            Columns of text to give as codes and their dictionary, which are quicker to read.

        Raises
        ------
        PassportError
            Damaged.
        """
        try:
            with pq.ParquetFile(
                self.path, page_checksum_verification=True, read_dictionary=list(coded)
            ) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=columns, use_threads=False)
                    _check_values(table, len(self.stages), self.path)
                    yield table
        except (pa.ArrowException, OSError) as error:
            raise PassportError(f"{self.path}: damaged passport: {error}") from error


def schema() -> pa.Schema:
    """Columns of a passport; of hashes 32 bytes, not 64 digits."""

    def kind(name: str) -> pa.DataType:
        if name in HASHES:
            return pa.binary(32)
        return pa.int64() if name in _NUMBERS else pa.string()

    fields = [(name, kind(name)) for name in COLUMNS]
    return pa.schema([("stage", pa.int16()), ("role", pa.string()), *fields])


def write_passport(stages: Sequence[Stage], tables: Iterable[pa.Table], path: Path) -> str:
    """Write a passport whole or not at all; returns the SHA-256 of the file.

    Parameters
    ----------
    tables : iterable of Table
        In the order of their stages, each stage in the order of `StageRows`.
    """
    header = Stages(stages=tuple(stages)).text()
    own = schema().with_metadata({_KEY: header})
    # Hashes of VOIs differ all: neither a dictionary nor compression makes them smaller.
    plain = [name for name in HASHES if "source" not in name]
    packed = {name: "NONE" if name in plain else "ZSTD" for name in own.names}
    with (
        atomic_write(path) as temporary,
        pq.ParquetWriter(
            temporary,
            own,
            compression=packed,
            use_dictionary=[name for name in own.names if name not in plain],
            write_page_checksum=True,
        ) as writer,
    ):
        for table in tables:
            writer.write_table(table.select(own.names).cast(own), row_group_size=MOST_GROUP_ROWS)
    return sha256_file(path)


def read_passport(path: str | Path, sha256: str | None = None) -> Passport:
    """Passport of a file; its rows are read when they are asked for.

    Parameters
    ----------
    sha256 : str, optional
        What the file must have, such as the checkpoint says.

    Raises
    ------
    PassportError
        No passport, a damaged one, one of another hash or of a newer program.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise PassportError(f"{path}: no such passport")
        found = sha256_file(path)
        if sha256 is not None and found != sha256:
            raise PassportError(
                f"{path}: not the passport of this checkpoint, which carries SHA-256 "
                f"{sha256[:16]}; the file has {found[:16]}. It was changed or belongs to another "
                "model: copy the model folder again"
            )
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return Passport(path, found, _checked(file, path), file.metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise PassportError(f"{path}: not a readable passport: {error}") from error


def _checked(file: pq.ParquetFile, path: Path) -> tuple[Stage, ...]:
    """Stages of a file whose schema and sizes are those of a passport."""
    header = (file.schema_arrow.metadata or {}).get(_KEY)
    if header is None:
        raise PassportError(f"{path}: Parquet, but not a passport of uls-data")
    if len(header) > _MOST_HEADER_BYTES:
        raise PassportError(f"{path}: header of {len(header)} bytes, at most {_MOST_HEADER_BYTES}")
    expected, there = schema(), file.schema_arrow.remove_metadata()
    if there != expected:
        wrong = sorted(set(map(str, there)) ^ set(map(str, expected))) or ["another order"]
        raise PassportError(f"{path}: not the columns of a passport: {wrong[0][:200]}")
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    if file.metadata.num_rows > _MOST_ROWS or any(
        group.num_rows > MOST_GROUP_ROWS or group.total_byte_size > _MOST_GROUP_BYTES
        for group in groups
    ):
        raise PassportError(f"{path}: larger than a passport can be")
    try:
        stages = Stages.model_validate_json(header).stages
    except ValidationError as error:
        wrong_part = error.errors()[0]
        where = ".".join(map(str, wrong_part["loc"]))
        raise PassportError(
            f"{path}: header: {where}: {wrong_part['msg']}; a newer uls-data may read it"
        ) from error
    for number, stage in enumerate(stages):
        if any(before >= number for before in stage.after):
            raise PassportError(f"{path}: header: stage {number} comes after a later one")
    stated = sum(count for stage in stages for count in stage.rows.values())
    if stated != file.metadata.num_rows:
        raise PassportError(f"{path}: header: {stated} rows, the file has {file.metadata.num_rows}")
    return stages


def _check_values(table: pa.Table, stages: int, path: Path) -> None:
    if "stage" in table.column_names and len(table):
        ends = pc.min_max(table["stage"]).as_py()
        if table["stage"].null_count or ends["min"] < 0 or ends["max"] >= stages:
            raise PassportError(f"{path}: rows of stages that its header lacks")
    if "role" in table.column_names:
        strange = set(pc.unique(table["role"]).to_pylist()) - set(ROLES)
        if strange:
            raise PassportError(f"{path}: role {min(map(str, strange))[:50]!r}: none of {ROLES}")


def union(passports: Sequence[Passport], own: Sequence[Stage] = ()) -> tuple[list[Stage], Any]:
    """Stages of several passports, each once, with stages after them all; and their rows.

    Parameters
    ----------
    own : sequence of Stage
        Added at the end, after every last stage of the passports.

    Returns
    -------
    list of Stage, iterator of Table
        The same for any order of the passports.

    Raises
    ------
    PassportError
        Two passports tell different things of one training.
    """
    stages: list[Stage] = []
    known: dict[str, int] = {}
    new: list[tuple[Passport, dict[int, int]]] = []
    ends: list[int] = []
    for passport in sorted(passports, key=lambda one: one.sha256):
        place: dict[int, int] = {}
        fresh: dict[int, int] = {}
        for number, stage in enumerate(passport.stages):
            after = tuple(sorted(place[before] for before in stage.after))
            moved = stage.model_copy(update={"after": after})
            identity = stage.request or hash_of([moved.model_dump_json()])
            if identity in known:
                before = stages[known[identity]]
                if (before.rows, before.files) != (stage.rows, stage.files):
                    raise PassportError(
                        f"{passport.path}: its stage {number} ({stage.name}) differs in another "
                        "passport of the same training"
                    )
            else:
                known[identity] = fresh[number] = len(stages)
                stages.append(moved)
            place[number] = known[identity]
        inner = {before for stage in passport.stages for before in stage.after}
        ends += [place[number] for number in place if number not in inner]
        new.append((passport, fresh))
    last = tuple(sorted(set(ends)))
    stages += [stage.model_copy(update={"after": last}) for stage in own]
    return stages, _moved(new)


def _moved(passports: Sequence[tuple[Passport, dict[int, int]]]) -> Iterator[pa.Table]:
    for passport, fresh in passports:
        for table in passport.tables():
            for number in pc.unique(table["stage"]).to_pylist():
                if number in fresh:
                    rows = table.filter(pc.equal(table["stage"], number))
                    stage = pa.array([fresh[number]] * len(rows), pa.int16())
                    yield rows.set_column(0, "stage", stage)
