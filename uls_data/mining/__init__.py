"""Measured lesions out of radiology reports: sizes, series and image, where, and whether now.

Plain rules over words of a lexicon, one per language; no model and no network. The flow:
`report_text` (files to text), `word_places` and `lexicon` (words), `sizes`, `references` and
`tables_in_text` (what is written), `layout`, `seats` and `joined_sizes` (in which sentence, whose
words), `kinds`, `earlier` and `mentions` (what it means), `mined` (the table).
"""

from uls_data.mining.mined import MineReport, mine

__all__ = ["MineReport", "mine"]
