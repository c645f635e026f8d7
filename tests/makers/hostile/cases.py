"""Maker of hostile cases: a small good scan and mask, damaged in one or two ways.

Everything is a function of a seed. What lies outside the raw root and must never be
read holds `MARK`, which reads the same however a volume is turned; so do the free-text
fields of every header.
"""

from __future__ import annotations

import random
from importlib import import_module

from makers.hostile.parts import KNOWN, STAGES, Case, encode, good_case, pack

# In this order, whatever else imports them: a case is a function of its numbers.
for _damage in ("makers.hostile.voxels", "makers.hostile.texts", "makers.hostile.files"):
    import_module(_damage)


def mutations() -> list[str]:
    """Names of all mutations."""
    return [function.__name__ for *_, function in KNOWN]


def make_case(seed: int, number: int, only: str | None = None) -> Case:
    """One hostile case, by the seed of its batch and its number in it."""
    rng = random.Random(f"{seed}/{number}")
    known = [m for m in KNOWN if only is None or m[2].__name__ == only]
    chosen = [known[(seed * 20 + number) % len(known)] if number % 2 else rng.choice(known)]
    if only is None and rng.random() < 0.4:
        other = rng.choice(KNOWN)
        fits = other[2] is not chosen[0][2] and set(other[1]) & set(chosen[0][1])
        if fits and (other[0] != chosen[0][0] or other[0] in ("content", "stream")):
            chosen.append(other)
    chosen.sort(key=lambda mutation: STAGES.index(mutation[0]))
    forms = sorted(set.intersection(*[set(mutation[1]) for mutation in chosen]))
    case = good_case(rng, f"case{number:02d}", rng.choice(forms))
    parts = [case.image, case.mask]
    favourite = rng.choice(parts)
    for stage in STAGES:
        for its, _, mutation in chosen:
            if its == stage:
                part = favourite if rng.random() < 0.8 else rng.choice(parts)
                case.made_of.append(f"{mutation.__name__}({part.folder}{part.ext})")
                mutation(rng, case, part)
        for part in parts:
            if stage == "array":
                encode(part, case.name)
            elif stage == "content":
                pack(part)
    return case
