"""The pass on a CPU in one compiled loop: neighbors, windows, rows, histograms and scores, bead after bead."""

from pathlib import Path

from bayescg.loops.compiled import forget_stale

forget_stale(Path(__file__).parent)
