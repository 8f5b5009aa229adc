"""The latent-variable model: networks, coordinates, densities, information."""
