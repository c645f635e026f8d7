"""Verdicts with a reason, each on a key of its own: a small YAML file that anybody may write."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from uls_data.errata.overlay import wrong_fields
from uls_data.errors import UlsDataError
from uls_data.yaml_text import YamlError, read_yaml

DEFAULT_KEYS = Path(__file__).parent / "assets" / "keys.yaml"
# Letters of the page, now or later, whatever a file says.
RESERVED = "acdefgjkmnortuwx"
_LONGEST_BYTES = 1 << 14
_MOST = 10


class KeysError(UlsDataError):
    """A file of verdict keys cannot be read, or says what it cannot say."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VerdictKey(_Model):
    """A verdict with a reason.

    Attributes
    ----------
    key : str
        Small letter that gives it.
    verdict : str
        `accepted`, `rejected` or `noted`.
    reason : str
        Written into the overlay.
    """

    key: Annotated[str, StringConstraints(pattern=r"^[a-z]$")]
    verdict: Literal["accepted", "rejected", "noted"]
    reason: Annotated[
        str, StringConstraints(min_length=1, max_length=40, pattern=r"^\w(?:[\w ,.'/+-]*\w)?$")
    ]

    @field_validator("key")
    @classmethod
    def _is_free(cls, key: str) -> str:
        if key in RESERVED:
            raise ValueError(f"{key!r} is reserved for the page, as are {' '.join(RESERVED)}")
        return key


class VerdictKeys(_Model):
    """The verdicts with a reason that a page offers, in their order."""

    keys_version: Literal[1]
    verdicts: Annotated[tuple[VerdictKey, ...], Field(max_length=_MOST)]

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        for name in ("key", "reason"):
            for value, count in Counter(getattr(v, name) for v in self.verdicts).items():
                if count > 1:
                    raise ValueError(f"the {name} {value!r} is there {count} times")
        return self


def load_keys(path: str | Path = DEFAULT_KEYS) -> VerdictKeys:
    """Read and check a file of verdict keys.

    Raises
    ------
    KeysError
        Missing, too large, not YAML, or not valid; the message names the wrong fields.
    """
    path = Path(path)
    try:
        content = read_yaml(path, _LONGEST_BYTES)
    except YamlError as error:
        raise KeysError(str(error)) from error
    if not isinstance(content, dict):
        raise KeysError(f"{path}: expected `keys_version: 1` and `verdicts`")
    try:
        return VerdictKeys.model_validate(content)
    except ValidationError as error:
        raise KeysError("\n  ".join([f"{path}:", *wrong_fields(error, "keys")])) from error
