"""Files for OpenMM."""
