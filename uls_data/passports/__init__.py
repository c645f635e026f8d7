"""What trained a model: rows with their hashes, stage by stage, and which rows it has seen."""

from uls_data.passports.document import Passport, PassportError, read_passport
from uls_data.passports.given import passport_from
from uls_data.passports.seen import Seen, seen_by

__all__ = ["Passport", "PassportError", "Seen", "passport_from", "read_passport", "seen_by"]
