"""Studies of engines."""
