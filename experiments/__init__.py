"""The commands: `python -m experiments.NAME --flag=value`."""
