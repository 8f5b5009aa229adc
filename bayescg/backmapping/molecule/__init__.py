"""Atoms of one molecule: tempered paths, chains, and the weights of a frame."""
