"""2D pseudo-masks: from two RECIST lines on a slice to a mask, and how sure it is."""
