"""The settings of `run`: frozen models of a YAML file."""
