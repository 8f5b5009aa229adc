"""The pass on a CPU in one compiled loop: neighbors, windows, rows, histograms and scores, bead after bead."""
