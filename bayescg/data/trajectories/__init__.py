"""Frames in and out: reading, checking, writing."""
