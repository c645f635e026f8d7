"""The clicks of one VOI, from each of which its lesion is found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from uls_data.geometry import Triple
from uls_data.ids import draw
from uls_data.manifest.example import Example
from uls_data.network.lesion import Found
from uls_data.network.voxels import Region


@dataclass
class Job:
    """One VOI on its way: what was read, and what was found from its clicks so far."""

    example: Example
    region: Region
    plane: NDArray[np.bool_] | None
    clicks: list[Triple] = field(default_factory=list)
    found: Found | None = None
    click_dice: list[float] = field(default_factory=list)

    def other_clicks(
        self, count: int, seed: int, crop: Triple, margin: tuple[int, ...]
    ) -> list[Triple]:
        """Voxels of the mask near the click, in the read region."""
        if self.found is None:
            return []
        offset = [
            part.start + at - n // 2
            for part, at, n in zip(self.found.box, self.region.click, crop, strict=True)
        ]
        places = np.argwhere(self.found.mask) + offset
        near = (np.abs(places - self.region.click) <= margin).all(axis=1)
        places = places[near]
        chosen: list[Triple] = []
        for k in range(count if len(places) else 0):
            at = draw(len(places), seed, *self.example.identity[:4], "jitter", k)
            z, y, x = (int(i) for i in places[at])
            chosen.append((z, y, x))
        return chosen
