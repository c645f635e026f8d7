"""A recipe for raw data, as far as a look at it tells; what it does not tell is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from uls_data.errors import SourceError
from uls_data.ids import readable
from uls_data.recipe import recipe_template
from uls_data.recipe.model import Recipe
from uls_data.sources.find import find_cases
from uls_data.sources.looking import Look, Objects
from uls_data.sources.proposal import (
    SHOWN,
    Proposal,
    any_of,
    fill,
    names_of_lesions,
    quoted,
    shape_of,
)
from uls_data.sources.proposing_shipped import shipped_for
from uls_data.sources.proposing_volumes import (
    propose_listed,
    propose_lists,
    propose_masks_of_series,
    propose_pairs,
)
from uls_data.yaml_text import YamlError, load_yaml

_MOST_BYTES = 1 << 24
_MEASURED = (
    "Structured reports and presentation states may hold lines: the reader `measurements` reads "
    "them (docs/measurements.md)",
)


def propose_recipe(name: str, root: Path, datalist: Path | None = None) -> Proposal:
    """Look at a folder and write the recipe that seems to fit it.

    Parameters
    ----------
    name : str
        Of the source.
    root : Path
        Raw root; nothing is written there.
    datalist : Path, optional
        Relative to the root: JSON file that lists images and labels, instead of looking for pairs.

    Raises
    ------
    RecipeError
        The name cannot be a source's.
    SourceError
        The folder cannot be read, holds no file, or nothing that goes with a mask.
    """
    made = Proposal(recipe_template(name))
    look = Look.at(root)
    made.seen.append(
        f"{len(look.volumes)} volumes, {len(look.packed)} packed archives, {len(look.other)} other "
        "files"
    )
    if look.packed:
        made.unsure.append(
            f"{len(look.packed)} archives were not looked into, such as "
            f"{readable(look.packed[0].as_posix())}: unpack them"
        )
    for folder, why in sorted(look.unlisted.items()):
        made.unsure.append(f"folder {readable(folder)} cannot be listed: {why}")
    made.seen += shipped_for(look)
    if datalist is not None:
        if not propose_listed(made, look, datalist):
            raise SourceError(f"{root / datalist}: lists no image with a label that can be read")
    elif not (
        propose_lists(made, look, described=True)
        or _objects(made, look)
        or propose_pairs(made, look)
        or propose_masks_of_series(made, look)
        or propose_lists(made, look, described=False)
    ):
        kinds = Counter(one.modality or "unknown" for one in look.series)
        series = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        raise SourceError(
            f"--raw {root}: found {len(look.volumes)} volumes and DICOM series: "
            f"{series or 'none'}; no mask, structure set or segmentation that goes with a scan "
            "was found among them.\n"
            + "".join(f"  {line}\n" for line in made.seen[1:])
            + "".join(f"  {line}\n" for line in made.unsure)
            + "".join(f"  masks without images: {it.pattern}\n" for it in look.masks()[:1])
            + "".join(f"  {line}\n" for line in _MEASURED if kinds.keys() & {"SR", "PR"})
            + f"  `uls-data recipe new {name}` without --raw writes a recipe to edit by hand."
        )
    _try(made, root)
    return made


# --- DICOM objects --------------------------------------------------------------------


def _objects(made: Proposal, look: Look) -> bool:
    found = [it for kind in ("rtstruct", "seg") if (it := look.objects(kind)) is not None]
    if not found or not look.ct:
        return False
    for it in found:
        _tell_names(made, it)
    kind = found[0].kind if len(found) == 1 else "any"
    every = sum((it.names for it in found), Counter[str]())
    objects = sum(it.count for it in found)
    if objects > len(look.ct):
        made.unsure.append(
            f"there are {objects} objects and {len(look.ct)} CT series: several versions "
            "(`several: latest`), or several readers of the same lesions (`readers`)? All are read"
        )
    if len(every) == 1:
        made.unsure.append(
            f"every structure is called {next(iter(every))}: each is taken for one lesion; if one "
            "holds several, write {rule: components, values: [1], connectivity: 6, keep: all}"
        )
    if look.volumes:
        made.unsure.append(
            f"volumes beside the DICOM objects, which this recipe does not read: "
            f"{len(look.volumes)}, such as {readable(look.volumes[0].as_posix())}"
        )
    case = _case_of_folders(made, [one.files[0] for one in look.ct])
    names = names_of_lesions(made, every, "structure")
    made.seen.append(f"{len(look.ct)} CT series")
    reader = [
        "# DICOM series and the objects that refer to them, in any folders.",
        "reader:",
        "  name: dicom_objects",
        f"  kind: {kind}",
        "  # Folder above a series that names the case.",
        f"  case: {quoted(case)}",
        "  # Names of structures that are lesions; seen, with the number of objects:",
        *(f"  #   {count:4} {name}" for name, count in every.most_common(SHOWN)),
        f"  structures: {quoted(any_of(names))}    # EDIT",
    ]
    fill(made, reader, "instances: {rule: given}    # each structure is a lesion")
    return True


def _tell_names(made: Proposal, it: Objects) -> None:
    made.seen.append(f"{it.count} {it.kind.upper()} objects, {it.looked} of them read; structures:")
    made.seen += [f"  {count:4} {name}" for name, count in it.names.most_common(SHOWN)]
    if len(it.names) > SHOWN:
        made.seen.append(f"  and {len(it.names) - SHOWN} names more")
    if it.hidden:
        made.unsure.append(f"{it.hidden} names of structures are not plain text and not shown")
    if it.unread:
        made.unsure.append(f"{len(it.unread)} objects cannot be read, such as {it.unread[0]}")


def _case_of_folders(made: Proposal, files: Sequence[Path]) -> str:
    """Regular expression of the uppermost folders that tell series apart."""
    parts = [path.parts[:-1] for path in files]
    for level in range(min(map(len, parts), default=0)):
        names = {part[level] for part in parts}
        if len(names) > 1 or (len(parts) == 1 and level == 0):
            made.seen.append(f"cases are called after folders, such as {readable(min(names))}")
            if len(parts) == 1:
                made.unsure.append(
                    f"there is one series: whether the folder {readable(min(names))} names its case"
                )
            return shape_of(made, names)
    made.unsure.append("no folder tells cases apart; `case` takes any: name folders by patients")
    return "[^/]+"


def _try(made: Proposal, root: Path) -> None:
    """Say how many cases the proposal finds; it must be a recipe that can be used."""
    try:
        recipe = Recipe.model_validate(load_yaml(made.text, "the proposal", _MOST_BYTES))
        cases = find_cases(recipe, root)
    except (YamlError, ValueError, SourceError) as error:
        made.unsure.append(f"the proposal needs work: {str(error).splitlines()[0]}")
        return
    problems = Counter(case.problem[0].value for case in cases if case.problem)
    words = "".join(f"; {count} {reason}" for reason, count in problems.most_common())
    made.seen.append(f"by this recipe: {len(cases)} cases{words}")
