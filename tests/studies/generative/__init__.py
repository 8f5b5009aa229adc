"""Studies of generative coarse-graining."""
