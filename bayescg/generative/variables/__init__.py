"""Collective variables: from coordinates to latent values, for users and for other programs."""
