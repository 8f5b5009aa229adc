"""Atoms from beads: placement of atoms with exact statistics."""
