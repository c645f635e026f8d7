"""Images through a network: mirrored views, half precision on a GPU, several VOIs in flight.

The network is always called on one view of one VOI. A VOI has eight million voxels, so larger
calls gain nothing, and rounding depends on a call's shape: this way a mask does not depend on
how many VOIs are on the device, nor on which others are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from uls_data.network.architecture import deep_logits
from uls_data.network.checkpoint import Model
from uls_data.network.device import Precision, usable_precision
from uls_data.network.fused import Replayed, fused_margin
from uls_data.network.norm import keep_layout
from uls_data.network.plan import ModelError
from uls_data.network.voxels import VALID, Region, channels_of

Rule = Literal["auto", "replace", "blend", "leave"]
RULES: tuple[Rule, ...] = ("auto", "replace", "blend", "leave")
Item = TypeVar("Item")
_MIRRORS = [axes for count in range(4) for axes in combinations((2, 3, 4), count)]


@dataclass(frozen=True)
class Settings:
    """How masks are predicted: the parameters of `predict` of these names."""

    tta: bool = False
    jitter: int = 0
    device: str = "auto"
    precision: Precision = "auto"
    batch_size: int = 2
    compiled: bool = False
    seed: int = 0
    workers: int = 2
    key_slice: Rule = "auto"
    image_vote: bool | None = None


@dataclass(frozen=True)
class Answer:
    """What a network says about one image.

    Attributes
    ----------
    margin : ndarray, shape (z, y, x) of the plan's crop, float32
        Logit of lesion minus that of background, the mean of all views; above 0 is lesion.
    votes : ndarray, same shape, uint8, or None
        Views in which a voxel is lesion; None where there is one view only. Every network has
        views of its own.
    views : int
    """

    margin: NDArray[np.float32]
    votes: NDArray[np.uint8] | None
    views: int


class Predictor:
    """A network, or several that are averaged, on a device.

    Parameters
    ----------
    model : Model
        On the CPU or on the device already; it is moved and cast in place.
    device : torch.device
    precision : str
        `auto`: float32 on a CPU, bfloat16 on a GPU that has it, else float16.
    mirror : bool
        Average the eight mirrored views (the paper's TTA).
    compiled : bool
        Compile the network first; pays on a GPU for many VOIs only, and only for networks that
        `fused_margin` does not know.
    """

    def __init__(
        self,
        model: Model,
        device: Any,
        *,
        precision: Precision = "auto",
        mirror: bool = False,
        compiled: bool = False,
    ) -> None:
        self.model, self.device = model, device
        self.on_gpu = device.type == "cuda"
        self.precision = usable_precision(precision, device)
        self._views = _MIRRORS if mirror else _MIRRORS[:1]
        self._count = len(self._views) * len(model.networks)
        dtype = getattr(torch, self.precision)
        self._dtype = dtype
        if self.on_gpu:
            # The choice among algorithms may not depend on what ran before.
            torch.backends.cudnn.benchmark = False
        plain = model.plan.pool == (1, 1, 1) and model.plan.prompt is None
        self._margins = [
            self._margin_of(network, compiled=compiled, plain=plain) for network in model.networks
        ]

    def _margin_of(self, network: Any, *, compiled: bool, plain: bool) -> Callable[[Any], Any]:
        """Logit of lesion minus that of background, of a normalised image."""
        network.to(self.device, self._dtype, memory_format=torch.channels_last_3d).eval()
        if self.on_gpu and not compiled and plain:
            fused = fused_margin(network)
            if fused is not None:
                return Replayed(fused)
        if self.on_gpu:
            keep_layout(network)
        called = torch.compile(network) if compiled else network

        def margin(view: Any) -> Any:
            logits = deep_logits(called, self.model.plan, view)[0]
            return logits[:, 1].float() - logits[:, 0].float()

        return margin

    def answers(
        self,
        items: Iterable[tuple[Item, Region]],
        in_flight: int = 2,
        halved: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[Item, Answer]]:
        """Answers in the order of the items.

        Parameters
        ----------
        items : iterable of (item, Region)
            The region must hold the plan's crop about its click.
        in_flight : int
            VOIs on the device at once. Where its memory is too small for them it is halved.
        halved : callable, optional
            Told the new number.

        Raises
        ------
        ModelError
            The device is too small for a single VOI.
        """
        flying: deque[tuple[Item, Callable[[], Answer]]] = deque()
        limit = max(1, in_flight)
        for item, region in items:
            while len(flying) >= limit:
                yield _landed(flying)
            try:
                launched = self._launch(region)
            except torch.OutOfMemoryError:
                launched = None
            # Not in the handler: what the failed call held goes with its exception.
            if launched is None:
                while flying:
                    yield _landed(flying)
                if limit > 1:
                    limit //= 2
                    if halved is not None:
                        halved(limit)
                launched = self._launch_alone(region)
            flying.append((item, launched))
        while flying:
            yield _landed(flying)

    def _launch_alone(self, region: Region) -> Callable[[], Answer]:
        if self.on_gpu:
            torch.cuda.empty_cache()
        try:
            return self._launch(region)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"out of memory on {self.device} with a single VOI of {self.model.plan.crop}; "
                "take --device cpu, or a model with a smaller crop"
            ) from error

    def _launch(self, region: Region) -> Callable[[], Answer]:
        """Start one VOI; the function returned waits for its answer."""
        with torch.inference_mode():
            image = self._image(region.cut(region.click, self.model.plan.crop))
            total: Any = None
            votes: Any = None
            for axes, margin_of in product(self._views, self._margins):
                margin = margin_of(torch.flip(image, axes) if axes else image)
                if axes:
                    margin = torch.flip(margin, [axis - 1 for axis in axes])
                total = margin if total is None else total.add_(margin)
                if self._count > 1:
                    hits = (margin > 0).to(torch.uint8)
                    votes = hits if votes is None else votes.add_(hits)
            total = total[0] / self._count
            found = [total] if votes is None else [total, votes[0]]
            if not self.on_gpu:
                return lambda: self._answer(found)
            copies = [
                torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(
                    part, non_blocking=True
                )
                for part in found
            ]
            done = torch.cuda.Event()
            done.record()

        def land() -> Answer:
            done.synchronize()
            return self._answer(copies)

        return land

    def _answer(self, parts: list[Any]) -> Answer:
        arrays = [part.numpy() for part in parts]
        return Answer(arrays[0], arrays[1] if len(arrays) > 1 else None, self._count)

    def _image(self, crop: Region) -> Any:
        """Normalised image on the device, (1, channels, z, y, x), equal to `channels_of`."""
        if crop.prompt is not None:
            channels = self._sent(channels_of(crop, self.model.intensities))
            return channels[None].to(self._dtype, memory_format=torch.channels_last_3d)
        hu, marks = (self._sent(part) for part in (crop.hu, crop.marks))
        numbers = self.model.intensities
        low, high = numbers.percentile_00_5, numbers.percentile_99_5
        image = hu.float().clamp_(low, high)
        image.masked_fill_((marks & VALID) == 0, low)
        image.sub_(numbers.mean).div_(numbers.std)
        # One channel: the layout must be asked for by stride, or it is taken for the usual one.
        return image[None, None].to(self._dtype, memory_format=torch.channels_last_3d)

    def _sent(self, part: NDArray[Any]) -> Any:
        """Array on its way to the device."""
        whole = torch.from_numpy(part)
        if not self.on_gpu:
            return whole
        # Copied by numpy, on this thread: torch takes all CPUs for it, which others work on.
        pinned = torch.empty(whole.shape, dtype=whole.dtype, pin_memory=True)
        pinned.numpy()[...] = part
        return pinned.to(self.device, non_blocking=True)


def _landed(flying: deque[tuple[Item, Callable[[], Answer]]]) -> tuple[Item, Answer]:
    item, land = flying.popleft()
    return item, land()
