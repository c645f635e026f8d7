"""Which shipped recipe reads the data in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from uls_data.ids import readable
from uls_data.recipe import load_recipe, recipe_names
from uls_data.sources.looking import Look
from uls_data.sources.patterns import pattern_regex

# Tables that only these sources have.
_KNOWN = {
    "DL_info.csv": "deeplesion",
    "trainNodules.csv": "lndb",
    "trainNodules_gt.csv": "lndb",
    "CrowdsCureCancer2018-Results.csv": "ccc18",
}
_LIDC, _HEAD_BYTES, _MOST_XML = b"<LidcReadMessage", 4096, 20


def shipped_for(look: Look) -> list[str]:
    """Say which shipped recipes read data of these names, as far as names tell."""
    found = {
        f"{path.name} is here: the shipped recipe {_KNOWN[path.name]} reads such data"
        for path in look.other
        if path.name in _KNOWN
    }
    if any(_is_lidc(look.root / path) for path in _xml(look)):
        found.add("XML of LIDC's readers is here: the shipped recipe lidc_idri reads such data")
    if look.volumes:
        found.update(
            f"the shipped recipe {name} finds {count} cases here: `uls-data build {name}`"
            for name, count in _pairs(look)
        )
    return sorted(found)


def _xml(look: Look) -> list[Path]:
    return [path for path in look.other if path.suffix.lower() == ".xml"][:_MOST_XML]


def _is_lidc(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return _LIDC in file.read(_HEAD_BYTES)
    except OSError:
        return False


def _pairs(look: Look) -> Iterator[tuple[str, int]]:
    """Shipped recipes of pairs, and how many of their cases have image and mask here."""
    names = [readable(path.as_posix()) for path in look.volumes]
    for name in recipe_names():
        reader = load_recipe(name).recipe.reader
        most = 0
        for patterns in reader.pairs():
            both = [pattern_regex(one, reader.case_id) for one in patterns]
            cases = [{m["case"] for text in names if (m := it.fullmatch(text))} for it in both]
            # Layouts are alike; names of cases, and so of patients, tell whose they are.
            known = [case for case in cases[0] & cases[1] if reader.patient_of(case) is not None]
            most = max(most, len(known))
        if most:
            yield name, most
