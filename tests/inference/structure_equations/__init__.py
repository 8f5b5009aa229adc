"""Tests of structure matching, its combination with forces, and of the test of both against each other."""
