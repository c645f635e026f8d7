"""VOIs and masks in the layouts of other programs."""

from uls_data.export.grand_challenge import ChallengeExport, export_grand_challenge

__all__ = ["ChallengeExport", "export_grand_challenge"]
