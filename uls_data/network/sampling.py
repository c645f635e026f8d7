"""Which example a step sees: a function of the seed and the step alone.

No generator keeps a state, so a training that continues after an interruption draws what it
would have drawn, whatever read ahead.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from uls_data.errors import CaseError, ManifestError
from uls_data.geometry import Triple
from uls_data.ids import draw
from uls_data.manifest.example import Example
from uls_data.manifest.expected import expected_dice
from uls_data.network.plan import VOI_ZYX, Plan, Training
from uls_data.network.prompted import Prompted
from uls_data.network.voxels import LESION, Region, Weak, read_region

Item = TypeVar("Item")
Result = TypeVar("Result")
_FINE = 1 << 53
_TRIES = 20
_USUAL_VOX = 20.0
# Where nobody knows; and the least that counts, for every mask is to be drawn now and then.
_USUAL_DICE, _LEAST_DICE = 0.8, 0.05


def weights(examples: Sequence[Example], training: Training) -> NDArray[np.float64]:
    """Probability of each example, by lesion type, size and expected Dice as the plan says."""
    types = [example.row["lesion_type"] for example in examples]
    counts = Counter(types)
    share = np.array([counts[name] ** -training.type_balance for name in types])
    sizes = np.array([e.row["long_axis_vox"] or _USUAL_VOX for e in examples], dtype=np.float64)
    # A lesion of one voxel has no axis, and must neither be lost nor outweigh all others.
    share *= np.maximum(sizes, 1.0) ** training.size_power
    if training.dice_power:
        known = [expected_dice(example.row) for example in examples]
        dice = np.array([_USUAL_DICE if one is None else one for one in known])
        share *= np.maximum(dice, _LEAST_DICE) ** training.dice_power
    result: NDArray[np.float64] = share / share.sum()
    return result


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], pool: ThreadPoolExecutor, count: int
) -> Iterator[Result]:
    """Results in the order of the items; at most `count` of them wait to be taken."""
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) >= count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for job in waiting:
            job.cancel()


@dataclass
class Sampler:
    """Draws and reads what each step sees.

    Attributes
    ----------
    examples : list of Example
    plan : Plan
    seed : int
    weak : str
        See `read_region`.
    cache_bytes : int
        Memory for parts of VOIs that were read once.
    failed : dict
        Examples that cannot be read, and why; others are drawn instead.
    """

    examples: list[Example]
    plan: Plan
    seed: int
    weak: Weak
    cache_bytes: int = 1 << 29
    failed: dict[int, CaseError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._until = np.cumsum(weights(self.examples, self.plan.training))
        self._cache: OrderedDict[int, Region] = OrderedDict()
        self._held = 0
        self._lock = Lock()
        # A margin to move the crop in, where examples are clicked again.
        self._margin: Triple = tuple(n // 4 for n in self.plan.crop)  # type: ignore[assignment]
        self._shape: Triple = tuple(  # type: ignore[assignment]
            min(n + 2 * margin, whole)
            for n, margin, whole in zip(self.plan.crop, self._margin, VOI_ZYX, strict=True)
        )
        self._prompted: Prompted | None = None
        if self.plan.prompt is not None:
            # Lines tell how much of the VOI is seen; it may be all of it.
            self._shape = VOI_ZYX
            self._prompted = Prompted(self.plan.prompt, self.plan.crop)

    def chosen(self, step: int, slot: int, attempt: int = 0) -> int:
        """Index of the example at a place of a step's batch."""
        at = draw(_FINE, self.seed, "example", step, slot, attempt) / _FINE
        place = int(np.searchsorted(self._until, at * self._until[-1], side="right"))
        return min(place, len(self.examples) - 1)

    def region(self, step: int, slot: int) -> Region:
        """Part of a VOI, of the plan's crop, at a place of a step's batch.

        Raises
        ------
        ManifestError
            One example after the other cannot be read.
        """
        last: CaseError | None = None
        for attempt in range(_TRIES):
            index = self.chosen(step, slot, attempt)
            try:
                region = self._read(index)
            except CaseError as error:
                last = error
                with self._lock:
                    self.failed[index] = error
                continue
            if self._prompted is not None:
                random = np.random.default_rng(draw(_FINE, self.seed, "lines", step, slot))
                return self._prompted.framed(index, region, random)
            return region.cut(self._centre(region, step, slot), self.plan.crop)
        raise ManifestError(f"{_TRIES} VOIs in a row cannot be read; the last: {last}")

    def batches(self, first: int, last: int, pool: ThreadPoolExecutor) -> Iterator[list[Region]]:
        """Batches of the steps from `first` to before `last`, read ahead by threads."""
        size = self.plan.training.batch_size
        places = ((step, slot) for step in range(first, last) for slot in range(size))
        regions = read_ahead(lambda place: self.region(*place), places, pool, 2 * size + 2)
        for _ in range(first, last):
            yield list(islice(regions, size))

    def _read(self, index: int) -> Region:
        with self._lock:
            if index in self.failed:
                raise self.failed[index]
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
        example = self.examples[index]
        region = read_region(example, self.weak, self._shape)
        if self._prompted is not None:
            region = self._prompted.needed(index, example.row, region)
        size = region.hu.nbytes + region.marks.nbytes
        with self._lock:
            if index not in self._cache and size <= self.cache_bytes:
                self._cache[index] = region
                self._held += size
                while self._held > self.cache_bytes:
                    _, old = self._cache.popitem(last=False)
                    self._held -= old.hu.nbytes + old.marks.nbytes
        return region

    def _centre(self, region: Region, step: int, slot: int) -> Triple:
        """Return the click, or another voxel of the lesion not further than the margin."""
        share = self.plan.training.reclick
        return other_click(region, self._margin, share, self.seed, step, slot)


def other_click(
    region: Region, margin: Triple, share: float, seed: int, *place: int | str
) -> Triple:
    """Return the click, or, for a share of the draws, a voxel of the lesion near it.

    Parameters
    ----------
    margin : tuple of 3 int
        How far from the click it may lie, z, y, x.
    seed, place
        What is drawn depends on these alone.
    """
    if share == 0 or draw(_FINE, seed, "reclick", *place) >= share * _FINE:
        return region.click
    box = tuple(
        slice(max(0, at - far), at + far + 1) for at, far in zip(region.click, margin, strict=True)
    )
    near = np.argwhere(region.marks[box] & LESION)
    if len(near) == 0:
        return region.click
    chosen = near[draw(len(near), seed, "voxel", *place)]
    z, y, x = (int(at) + part.start for at, part in zip(chosen, box, strict=True))
    return z, y, x
