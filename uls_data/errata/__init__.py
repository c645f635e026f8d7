"""Corrections of lesions as small text files, applied as a layer of their own.

An overlay says what is wrong with a VOI, what to do, why, who says so and when; it names the
mask it was written for by its hash, and the one that it gives. It never changes what it corrects:
the corrected VOI is a row of layer `corrected` with a label of its own.
"""

from uls_data.errata.application import ErrataReport, apply_errata, check_errata
from uls_data.errata.change import Change, change_log, changes_of
from uls_data.errata.edits import Edit, Target, current, find_target, save_edit
from uls_data.errata.exchange import EditFolder, TakenEdit, take_edit, write_edit
from uls_data.errata.kappa import Agreement, Comparison, Disagreement, Kappa, compare_errata
from uls_data.errata.merging import MergeReport, merge_errata
from uls_data.errata.overlay import Correction, ErrataError, Kind, Overlay, append, load_overlay

__all__ = [
    "Agreement",
    "Change",
    "Comparison",
    "Correction",
    "Disagreement",
    "Edit",
    "EditFolder",
    "ErrataError",
    "ErrataReport",
    "Kappa",
    "Kind",
    "MergeReport",
    "Overlay",
    "TakenEdit",
    "Target",
    "append",
    "apply_errata",
    "change_log",
    "changes_of",
    "check_errata",
    "compare_errata",
    "current",
    "find_target",
    "load_overlay",
    "merge_errata",
    "save_edit",
    "take_edit",
    "write_edit",
]
