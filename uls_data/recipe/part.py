"""What readers of recipes are made of: parts that more than one of them has."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue

# Each * multiplies what a search may try on one name.
_MOST_STARS, _LONGEST_PATTERN = 12, 500


class Part(BaseModel):
    """Base of all parts: unknown fields are errors, values do not change."""

    # Validators are made when first used: workers are handed parts, and check none.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: Any, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add what stands below the fields in the source, which only the schema needs."""
        schema = handler(core_schema)
        fields = handler.resolve_ref_schema(schema).get("properties", {})
        for name, meaning in _meanings(cls).items():
            if name in fields:
                fields[name]["description"] = meaning
        return schema


def build_parts(part: type[Part] = Part) -> None:
    """Make the validators of a part and of all that derive from it, now."""
    part.model_rebuild()
    for derived in part.__subclasses__():
        build_parts(derived)


def _meanings(part: type) -> dict[str, str]:
    """Docstrings of the fields of a class, those that it inherits too; none without its source."""
    meanings: dict[str, str] = {}
    for base in reversed(part.__mro__):
        if not issubclass(base, Part):
            continue
        try:
            (defined,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except (OSError, TypeError):  # bytecode alone, or made while running
            return {}
        assert isinstance(defined, ast.ClassDef)
        for field, below in pairwise(defined.body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    meanings[name] = inspect.cleandoc(text)
    return meanings


def regex(value: Any) -> Any:
    """Refuse what is not a regular expression that fits inside another."""
    if not isinstance(value, str):
        return value  # pydantic says what is wrong with it
    try:
        # It becomes part of longer ones, in a group of its own.
        re.compile(f"x(?P<case>{value})(?P=case)")
        if re.compile(value).groupindex:
            raise ValueError("groups cannot have names here")
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(
            f"not a regular expression that can be part of a pattern: {error}"
        ) from error
    return value


def _one_group(value: str) -> str:
    if re.compile(value).groups != 1:
        raise ValueError("needs exactly one group (...), which is the patient's id")
    return value


Regex = Annotated[str, BeforeValidator(regex)]
CasePattern = Regex
PatientPattern = Annotated[str, BeforeValidator(regex), AfterValidator(_one_group)]


def check_pattern(value: str, *further: str) -> list[str]:
    """Fields of a file pattern: `{case}`, `{ext}` and the further ones.

    Raises
    ------
    ValueError
        It is none, or may lead out of the raw root.
    """
    if len(re.sub(r"\*+", "*", value)) > _LONGEST_PATTERN or value.count("*") > _MOST_STARS:
        raise ValueError(
            f"more than {_MOST_STARS} * or {_LONGEST_PATTERN} characters: no file needs that"
        )
    _below_root(value)
    fields: list[str] = re.findall(r"\{(\w*)", value)
    unknown = set(fields) - {"case", "ext", *further}
    if unknown:
        raise ValueError(f"the field {{{min(unknown)}}} does not belong here")
    return fields


def _below_root(value: str) -> str:
    if not value or value.startswith("/") or ".." in value.split("/") or "\0" in value:
        raise ValueError("must lie below the raw root: no leading / and no ..")
    return value


RootPath = Annotated[str, AfterValidator(_below_root)]


class ReaderPart(Part):
    """Base of all readers."""

    def patient_of(self, case_id: str) -> str | None:
        """Patient id of a case by the rule; None where its name does not tell it."""
        pattern: str | None = getattr(self, "patient", None)
        match = re.fullmatch(pattern, case_id) if pattern is not None else None
        return match[1] if match else None

    @property
    def case_id(self) -> str:
        """Regular expression of the ids of cases."""
        case: str = self.case  # type: ignore[attr-defined]  # each reader has it
        return case

    def check_rule(self, rule: str) -> None:
        """Refuse a rule of `instances` that the reader cannot serve.

        Raises
        ------
        ValueError
        """

    def pairs(self) -> list[tuple[str, str]]:
        """Patterns of images and their masks; none where names do not pair volumes."""
        return []

    def described(self) -> list[str]:
        """Lines for people: what is read, and from where."""
        options = self.model_dump(mode="json", exclude={"crosswalk"}, exclude_none=True)
        return [f"Reader: {json.dumps(options)}"]


class DicomPolicy(Part):
    """What to do with series that are not an evenly spaced stack of slices; never resampled."""

    duplicate_positions: Literal["fail", "first_instance_number"] = "fail"
    """Slices that share a position: fail, or keep the one of the lowest InstanceNumber."""
    uneven_share: float = Field(default=0.1, gt=0, lt=0.5)
    """How far a slice may lie from an even stack, as a share of the step between slices."""
    lone_slice: Literal["fail", "keep"] = "fail"
    """A series of one slice, as key images are exported: fail, or take its SliceThickness for the
    step and flag it `lone_slice`."""


class DicomReader(ReaderPart):
    """Base of readers of DICOM series."""

    case: CasePattern
    """Regular expression of a case's name. A series belongs to the case that a folder above it is
    called after, or that its header's PatientID names, if that fits the expression as a whole:
    no other id of a header is ever used."""
    patient: PatientPattern = r"(.*)"
    """As for `volume_pairs`."""
    policy: DicomPolicy = DicomPolicy.model_construct()


class Coordinates(Part):
    """Where a source's end points lie against pixel centres at whole, zero-based numbers."""

    shift_vox: float = Field(ge=-2, le=2)
    """Added to x and y of every end point to count from the first pixel's centre."""
    outward_vox: float = Field(ge=0, le=2)
    """How far the lesion reaches beyond the end points: 0 where they are centres of its outermost
    pixels, 0.5 where they are the edges of those."""
    evidence: str = Field(min_length=5)
    """How that is known."""
