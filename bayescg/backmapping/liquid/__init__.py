"""Atoms of many molecules, placed molecule by molecule among their neighbors."""
