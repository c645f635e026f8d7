"""A recipe for raw data, as far as a look at it tells; what it does not tell is said."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uls_data.errors import SourceError
from uls_data.ids import readable
from uls_data.recipe import recipe_template
from uls_data.recipe.model import Recipe
from uls_data.sources.case_files import natural_key
from uls_data.sources.find import find_cases
from uls_data.sources.looking import LESION_WORDS, Look, Objects, Pairs, Template, Values
from uls_data.yaml_text import YamlError, load_yaml

_MOST_SHAPES, _SHOWN, _MOST_BYTES = 20, 30, 1 << 24
_READER = re.compile(r"# Pairs of volumes:.*?(?=\n# Every 6-connected)", re.DOTALL)
_RULE = re.compile(r"(?m)^instances: .*$")
# Tables that only these sources have.
_KNOWN = {
    "DL_info.csv": "deeplesion",
    "trainNodules.csv": "lndb",
    "trainNodules_gt.csv": "lndb",
    "CrowdsCureCancer2018-Results.csv": "ccc18",
}
_DIGITS = re.compile(r"[0-9]+")


@dataclass
class Proposal:
    """A recipe, and what was seen.

    Attributes
    ----------
    text : str
        Of the recipe.
    seen : list of str
        Lines for people.
    unsure : list of str
        What the look could not tell, and what it took instead.
    """

    text: str
    seen: list[str] = field(default_factory=list)
    unsure: list[str] = field(default_factory=list)


def propose_recipe(name: str, root: Path) -> Proposal:
    """Look at a folder and write the recipe that seems to fit it.

    Parameters
    ----------
    name : str
        Of the source.
    root : Path
        Raw root; nothing is written there.

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
    for path in look.other:
        if (shipped := _KNOWN.get(path.name)) is not None:
            made.seen.append(f"{path.name} is here: the shipped recipe {shipped} reads such data")
    if not (_objects(made, look) or _pairs(made, look) or _masks_of_series(made, look)):
        kinds = Counter(one.modality or "unknown" for one in look.series)
        series = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        raise SourceError(
            f"--raw {root}: found {len(look.volumes)} volumes and DICOM series: "
            f"{series or 'none'}; no mask, structure set or segmentation that goes with a scan "
            "was told from them.\n"
            + "".join(f"  {line}\n" for line in made.seen[1:])
            + "".join(f"  {line}\n" for line in made.unsure)
            + f"  `uls-data recipe new {name}` without --raw writes a recipe to edit by hand."
        )
    _try(made, root)
    return made


# --- DICOM objects --------------------------------------------------------------------


def _objects(made: Proposal, look: Look) -> bool:
    found = [it for kind in ("rtstruct", "seg") if (it := look.objects(kind)) is not None]
    if not found or not look.ct:
        return False
    chosen = max(found, key=lambda it: it.count)
    for it in found:
        _tell_names(made, it)
    if len(found) > 1:
        made.unsure.append(
            f"there are RTSTRUCT and SEG objects; a recipe reads one kind, this one {chosen.kind}"
        )
    if look.volumes:
        made.unsure.append(
            f"volumes beside the DICOM objects, which this recipe does not read: "
            f"{len(look.volumes)}, such as {readable(look.volumes[0].as_posix())}"
        )
    case = _case_of_folders(made, [one.files[0] for one in look.ct])
    names = _names_of_lesions(made, chosen.names, "structure")
    made.seen.append(f"{len(look.ct)} CT series")
    reader = [
        "# DICOM series and the objects that refer to them, in any folders.",
        "reader:",
        "  name: dicom_objects",
        f"  kind: {chosen.kind}",
        "  # Folder above a series that names the case.",
        f"  case: {_quoted(case)}",
        "  # Names of structures that are lesions; seen, with the number of objects:",
        *(f"  #   {count:4} {name}" for name, count in chosen.names.most_common(_SHOWN)),
        f"  structures: {_quoted(_any_of(names))}    # EDIT",
    ]
    _fill(made, reader, "instances: {rule: given}    # each structure is a lesion")
    return True


def _tell_names(made: Proposal, it: Objects) -> None:
    made.seen.append(f"{it.count} {it.kind.upper()} objects, {it.looked} of them read; structures:")
    made.seen += [f"  {count:4} {name}" for name, count in it.names.most_common(_SHOWN)]
    if len(it.names) > _SHOWN:
        made.seen.append(f"  and {len(it.names) - _SHOWN} names more")
    if it.hidden:
        made.unsure.append(f"{it.hidden} names of structures are no plain text and not shown")
    if it.unread:
        made.unsure.append(f"{len(it.unread)} objects cannot be read, such as {it.unread[0]}")


def _names_of_lesions(made: Proposal, names: Iterable[str], of: str) -> list[str]:
    """Names that sound like lesions; all where none does, which is said."""
    every = list(names)
    if chosen := [name for name in every if LESION_WORDS.search(name)]:
        return chosen
    made.unsure.append(
        f"no {of}'s name says lesion, tumour or the like: all are taken; keep those that are "
        "lesions"
    )
    return every


def _case_of_folders(made: Proposal, files: Sequence[Path]) -> str:
    """Regular expression of the uppermost folders that tell series apart."""
    parts = [path.parts[:-1] for path in files]
    for level in range(min(map(len, parts), default=0)):
        names = {part[level] for part in parts}
        if len(names) > 1 or (len(parts) == 1 and level == 0):
            made.seen.append(f"cases are called after folders, such as {readable(min(names))}")
            return _shape_of(made, names)
    made.unsure.append("no folder tells cases apart; `case` takes any: name folders by patients")
    return "[^/]+"


# --- Volumes --------------------------------------------------------------------------


def _pairs(made: Proposal, look: Look) -> bool:
    found = look.pairs()
    if found is None:
        return False
    common = found.image.files.keys() & found.mask.files.keys()
    made.seen += [
        f"images {found.image.pattern}, masks {found.mask.pattern}: {len(common)} cases have both"
    ]
    _tell_other_masks(made, found)
    used = found.image.paths | found.mask.paths
    used = used.union(*(it.paths for it in found.others))
    left = [path for path in look.volumes if path not in used]
    if left:
        made.unsure.append(
            f"volumes of no case of this layout: {len(left)}, such as "
            f"{readable(left[0].as_posix())}"
        )
    rule, segments = _rule(made, look.values(found.mask), _labels(look, found.mask))
    reader = [
        "# Pairs of volumes, as found below the raw root.",
        "reader:",
        "  name: volume_pairs",
        "  layouts:",
        "    - name: as_found",
        f"      image: {_quoted(found.image.pattern)}",
        f"      mask: {_quoted(found.mask.pattern)}",
        f"  case: {_quoted(_shape_of(made, common, loose=True))}",
        *segments,
        "  # Regular expression whose group is the patient, if the case's name holds one. EDIT",
        '  patient: "(.*)"',
    ]
    made.unsure.append(
        "whether several cases are of one patient: each is its own until `patient` says otherwise"
    )
    _fill(made, reader, rule)
    return True


def _tell_other_masks(made: Proposal, found: Pairs) -> None:
    for other in found.others[:_SHOWN]:
        made.unsure.append(
            f"{other.pattern} holds masks of the same cases ({len(other.files)}), left out here"
        )


def _masks_of_series(made: Proposal, look: Look) -> bool:
    """Masks as volumes beside DICOM series that folders of the same name hold."""
    folders = {part for one in look.ct for part in one.files[0].parts[:-1]}
    best: tuple[set[str], Template] | None = None
    for mask in look.masks() if look.ct else ():
        common = mask.files.keys() & folders
        if common and (best is None or len(common) > len(best[0])):
            best = common, mask
    if best is None:
        return False
    common, mask = best
    made.seen.append(
        f"{len(look.ct)} CT series, {len(mask.files)} masks {mask.pattern}; {len(common)} are "
        "called like a folder of a series"
    )
    rule, segments = _rule(made, look.values(mask), _labels(look, mask))
    reader = [
        "# DICOM series, and a mask volume called like a folder above each.",
        "reader:",
        "  name: dicom_masks",
        f"  case: {_quoted(_shape_of(made, common))}",
        f"  mask: {_quoted(mask.pattern)}",
        *segments,
    ]
    _fill(made, reader, rule)
    return True


def _rule(made: Proposal, values: Values, labels: dict[int, str]) -> tuple[str, list[str]]:
    """`instances` of the recipe, and lines of its reader that go with it."""
    if values.unread:
        made.unsure.append(f"{len(values.unread)} masks cannot be read, such as {values.unread[0]}")
    if values.segments:
        made.seen.append(f"segments of {values.looked} of {values.of} masks, by name:")
        made.seen += [f"  {n:4} {name}" for name, n in values.segments.most_common(_SHOWN)]
        names = _names_of_lesions(made, values.segments, "segment")
        lines = [
            "  # Names of segments that are lesions.",
            f"  segments: {_quoted(_any_of(names))}    # EDIT",
        ]
        return "instances: {rule: given}    # each segment is a lesion", lines
    seen = sorted(values.masks)
    made.seen.append(f"values of {values.looked} of {values.of} masks:")
    made.seen += [
        f"  {value:4} in {values.masks[value]} masks, {values.voxels[value]:,} voxels"
        + (f"  ({labels[value]})" if value in labels else "")
        for value in seen[:_SHOWN]
    ]
    if values.numbered:
        made.unsure.append(
            "values run from 1 to another number in each mask: they are taken for numbers of "
            "lesions (rule: values); if they are kinds of tissue, use components"
        )
        return "instances: {rule: values}    # EDIT: each value is one lesion", []
    lesions = [value for value in seen if LESION_WORDS.search(labels.get(value, ""))]
    if not lesions:
        lesions = seen or [1]
        if len(seen) > 1:
            made.unsure.append(
                f"which of the values {', '.join(map(str, seen))} are lesions: all are taken; move "
                "those that are not (organs, cysts) to `others`"
            )
        elif not seen:
            made.unsure.append("the masks that were read hold 0 alone; 1 is taken for a lesion")
    others = [value for value in seen if value not in lesions]
    closed = "null" if values.looked < values.of else f"{others}"
    return (
        f"instances: {{rule: components, values: {lesions}, others: {closed}, connectivity: 6, "
        "keep: all}   # EDIT",
        [],
    )


def _labels(look: Look, mask: Template) -> dict[int, str]:
    """Names of values as a dataset.json above the masks tells them (MSD, nnU-Net)."""
    folders = {parent for path in mask.files.values() for parent in path.parents}
    for path in look.other:
        if path.name != "dataset.json" or path.parent not in folders:
            continue
        try:
            with (look.root / path).open("rb") as file:
                content: Any = json.loads(file.read(_MOST_BYTES))
            labels = content["labels"]
            pairs = [
                (int(a), str(b)) if str(a).isdigit() else (int(b), str(a))
                for a, b in labels.items()
            ]
        except (
            *(OSError, ValueError, TypeError, KeyError, AttributeError),
            *(OverflowError, RecursionError),
        ):
            continue
        # Other names could steer the terminal that they are shown on.
        return {value: name[:60] for value, name in pairs if name.isprintable()}
    return {}


# --- The text -------------------------------------------------------------------------


def _fill(made: Proposal, reader: Iterable[str], rule: str) -> None:
    block = "\n".join(reader) + "\n"
    made.text = _READER.sub(lambda _: block, made.text, count=1)
    made.text = _RULE.sub(lambda _: rule, made.text, count=1)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _any_of(names: Sequence[str]) -> str:
    return "|".join(re.escape(name).replace("\\ ", " ") for name in sorted(names))


def _shape_of(made: Proposal, names: Collection[str], *, loose: bool = False) -> str:
    """Regular expression of names that differ in their numbers; else of each, or of any.

    Parameters
    ----------
    loose : bool
        Whether a few names give no rule for others.
    """
    shapes = {r"\d+".join(map(re.escape, _DIGITS.split(name))) for name in names}
    if len(shapes) == 1 or (len(shapes) <= _MOST_SHAPES and not loose):
        return "|".join(sorted(shapes, key=natural_key))
    if loose:
        return "[^/]+?"
    made.unsure.append("names of cases follow no one rule; `case` takes any folder")
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
