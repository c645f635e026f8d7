"""Plans: what a network is and how it is trained, as files that people copy and edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from uls_data.errors import UlsDataError
from uls_data.voi import VOI_SHAPE
from uls_data.yaml_text import YamlError, load_yaml

VOI_ZYX = VOI_SHAPE[::-1]
_FOLDER = Path(__file__).parent / "plans"
_MAXIMUM_BYTES = 1 << 20

Count = Annotated[int, Field(ge=1, le=1 << 20)]
Size = Annotated[int, Field(ge=1, le=1024)]
Zyx = tuple[Size, Size, Size]
Share = Annotated[float, Field(ge=0, le=1)]


class ModelError(UlsDataError):
    """A plan, a checkpoint or a model folder cannot be used."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Architecture(_Part):
    """A U-Net of dynamic-network-architectures; one entry per stage, finest first."""

    kind: Literal["residual_encoder", "plain"] = "residual_encoder"
    features: tuple[Size, ...] = Field(min_length=2, max_length=12)
    strides: tuple[Zyx, ...]
    """z, y, x; the first is 1, 1, 1, so that the output has the input's size."""
    kernels: tuple[Zyx, ...]
    blocks: tuple[Annotated[int, Field(ge=1, le=64)], ...]
    """Residual blocks of an encoder stage; convolutions where `kind` is plain."""
    decoder_convs: tuple[Annotated[int, Field(ge=1, le=64)], ...]
    """Convolutions of a decoder stage: one stage fewer than the encoder has."""

    @model_validator(mode="after")
    def _lengths(self) -> Architecture:
        stages = len(self.features)
        for name, expected in [
            ("strides", stages),
            ("kernels", stages),
            ("blocks", stages),
            ("decoder_convs", stages - 1),
        ]:
            if len(getattr(self, name)) != expected:
                raise ValueError(
                    f"{name}: {stages} stages need {expected} entries, "
                    f"found {len(getattr(self, name))}"
                )
        if self.strides[0] != (1, 1, 1):
            raise ValueError(f"strides: the first must be [1, 1, 1], found {self.strides[0]}")
        if any(size % 2 == 0 for kernel in self.kernels for size in kernel):
            raise ValueError("kernels: sizes must be odd")
        return self

    @property
    def reduction(self) -> tuple[int, int, int]:
        """How many voxels along z, y, x become one at the coarsest stage."""
        z, y, x = 1, 1, 1
        for stride in self.strides:
            z, y, x = z * stride[0], y * stride[1], x * stride[2]
        return z, y, x


class Intensities(_Part):
    """HU of lesion voxels, by nnU-Net's names; images are clipped, shifted and scaled by them."""

    mean: float
    std: float = Field(gt=0)
    median: float
    min: float
    max: float
    percentile_00_5: float
    percentile_99_5: float

    @model_validator(mode="after")
    def _ordered(self) -> Intensities:
        if not self.percentile_00_5 < self.percentile_99_5:
            raise ValueError("percentile_00_5 must lie below percentile_99_5")
        return self


class Training(_Part):
    """How the network is trained. The optimiser is SGD with Nesterov momentum, as nnU-Net's."""

    batch_size: Annotated[int, Field(ge=1, le=1024)]
    epochs: Count
    fine_tune_epochs: Count
    """Instead of `epochs` where training starts from a checkpoint (`--init`)."""
    steps_per_epoch: Count = 250
    learning_rate: float = Field(default=1e-2, gt=0, le=10)
    fine_tune_factor: float = Field(default=0.25, gt=0, le=1)
    """The learning rate is multiplied by it where training starts from a checkpoint."""
    momentum: float = Field(default=0.99, ge=0, lt=1)
    weight_decay: float = Field(default=3e-5, ge=0)
    poly_exponent: float = Field(default=0.9, gt=0)
    gradient_norm: float = Field(default=12.0, gt=0)
    augment: bool = True
    reclick: Share = 0.0
    """Share of examples that are centred on another voxel of their lesion: another click."""
    type_balance: Share = 0.0
    """0: every lesion is drawn alike; 1: every lesion type is; between: in between."""
    size_power: float = Field(default=0.0, ge=-3, le=3)
    """Lesions are drawn in proportion to their long axis to this power (1: large ones more)."""
    dice_power: float = Field(default=0.0, ge=0, le=10)
    """Masks are drawn in proportion to the Dice that is expected of them to this power."""
    validate_every: Count = 10
    """Epochs between two validations; there is one at the end too."""
    checkpoint_every: Count = 1
    """Epochs between two checkpoints; an interrupted training resumes from the last."""


LineChannel = Literal["radius", "key", "lines", "ends", "likeness"]
_LINE_CHANNELS: tuple[LineChannel, ...] = ("radius", "key")


class Prompt(_Part):
    """A reader's lines, given to the network; it then sees the lesion on a grid as they measure it.

    `crop` is the size of that grid, whose extent is a share of the axes.
    """

    kind: Literal["lines"] = "lines"
    extent_in_plane: float = Field(default=2.0, ge=1, le=10)
    """Along x and y, times the long axis."""
    extent_z: float = Field(default=3.0, ge=1, le=10)
    """Along z, times the geometric mean of both axes."""
    channels: tuple[LineChannel, ...] = _LINE_CHANNELS
    """What it is told, `radius` first: the ellipsoid of the lines; `key`, their mask on the key
    slice; `lines` and `ends`, how near these are; `likeness`, how much a voxel looks like the
    lesion on the key slice."""

    @model_validator(mode="after")
    def _each_once(self) -> Prompt:
        if self.channels[:1] != ("radius",) or len(set(self.channels)) != len(self.channels):
            raise ValueError(
                f"channels: radius first, and each at most once; found {', '.join(self.channels)}"
            )
        return self

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Plans that were written before there was a choice stay as they are, to the byte.
        found: dict[str, Any] = write(self)
        if self.channels == _LINE_CHANNELS:
            found.pop("channels", None)
        return found


class Plan(_Part):
    """A network, what it sees of a VOI, and its training."""

    plan_version: Literal[1]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    architecture: Architecture
    crop: Zyx = VOI_ZYX
    """Part of the VOI about the click that the network sees; the whole VOI if left out."""
    pool: Zyx = (1, 1, 1)
    """The crop is averaged over blocks of this size, and the answer interpolated back."""
    prompt: Prompt | None = None
    """What the network is told beside the image; the click alone if left out."""
    intensities: Intensities | Literal["fingerprint"]
    """`fingerprint`: measured on the lesions that training is given."""
    training: Training

    @model_validator(mode="after")
    def _fits(self) -> Plan:
        reductions = self.architecture.reduction
        for axis, size, whole, pool, reduction in zip(
            "zyx", self.crop, VOI_ZYX, self.pool, reductions, strict=True
        ):
            if size > whole or (whole - size) % 2:
                raise ValueError(f"crop: {axis} must be even and at most {whole}, found {size}")
            if size % (pool * reduction):
                raise ValueError(
                    f"crop: {size} along {axis} is not a multiple of pool x strides = "
                    f"{pool} x {reduction}"
                )
        if self.prompt is not None and self.pool != (1, 1, 1):
            raise ValueError("pool: a plan with a prompt has a grid of its own, and no pool")
        if self.network_shape == reductions:
            raise ValueError("crop: one voxel is left at the coarsest stage; it needs two or more")
        return self

    @property
    def network_shape(self) -> tuple[int, int, int]:
        """Size (z, y, x) of what enters the network."""
        z, y, x = (n // p for n, p in zip(self.crop, self.pool, strict=True))
        return z, y, x

    @property
    def channels(self) -> int:
        """Channels that enter the network: CT; with lines, CT about their level, and theirs."""
        return 1 if self.prompt is None else 2 + len(self.prompt.channels)

    @property
    def sees(self) -> str:
        """`click` or `lines`: the manifest's `teacher_prompt`."""
        return "click" if self.prompt is None else self.prompt.kind

    def text(self) -> str:
        """Return the plan as YAML that `load_plan` reads."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, width=100))


def plan_names() -> list[str]:
    """Names of the shipped plans, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def load_plan(name_or_file: str | Path) -> Plan:
    """Read a shipped plan by its name, or a user's own file.

    Raises
    ------
    ModelError
        No such plan, or not a valid one; the message names each wrong field.
    """
    path = Path(name_or_file)
    if str(name_or_file) in plan_names():
        path = _FOLDER / f"{name_or_file}.yaml"
    try:
        with path.open("rb") as file:
            document = load_yaml(file.read(_MAXIMUM_BYTES + 1), str(path), _MAXIMUM_BYTES)
    except OSError as error:
        raise ModelError(
            f"plan {str(name_or_file)!r}: neither a readable file nor one of "
            f"{', '.join(plan_names())}"
        ) from error
    except YamlError as error:
        raise ModelError(str(error)) from error
    return parse_plan(document, str(path))


def as_plan(plan: str | Path | Plan) -> Plan:
    """Return the plan itself, or the one of a name or file."""
    return plan if isinstance(plan, Plan) else load_plan(plan)


def parse_plan(document: Any, where: str) -> Plan:
    """Check a plan that was read from `where`."""
    if not isinstance(document, dict):
        raise ModelError(f"{where}: a plan is a mapping of fields, found {type(document).__name__}")
    try:
        return Plan.model_validate(document)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(str(part) for part in entry['loc']) or 'plan'}: {entry['msg']}"
            for entry in error.errors()
        ]
        raise ModelError(f"{where}: " + "\n  ".join(wrong[:10])) from error
