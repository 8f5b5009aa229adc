"""Sums of frames: by time block and bead type, in the columns that a type has."""
