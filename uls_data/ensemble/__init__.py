"""Members that each make a mask of a lesion, and how far they disagree."""
