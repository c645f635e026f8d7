"""Cases of arrays: `<case>.npy` beside `<case>_mask.npy`."""

from __future__ import annotations

from uls_data.outcome import Reason
from uls_data.recipe.reader import Toy
from uls_data.sources.case_files import CaseFiles
from uls_data.sources.format import Search


def find_arrays(search: Search, _reader: Toy) -> list[CaseFiles]:
    """Find every mask, and the image of the same name."""
    cases = []
    for mask in sorted(path for path in search.raw.walk() if path.name.endswith("_mask.npy")):
        image = mask.with_name(mask.name.removesuffix("_mask.npy") + ".npy")
        there = (search.raw.path / image).is_file()
        problem = None if there else (Reason.IMAGE_MISSING, f"there is {mask} but no {image.name}")
        cases.append(CaseFiles(image.stem, image=image, mask=mask, problem=problem))
    return cases
