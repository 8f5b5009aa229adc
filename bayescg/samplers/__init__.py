"""What several rooms sample with: densities, their modes, Laplace, variational, NUTS, tempered SMC, and verdicts."""
