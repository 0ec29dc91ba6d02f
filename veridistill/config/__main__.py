"""`python -m veridistill.config` prints docs/configuration.md."""

from veridistill.config.reference import reference

print(reference(), end="")
