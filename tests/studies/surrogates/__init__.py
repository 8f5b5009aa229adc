"""Studies of physics-guided curves."""
