"""`python -m carsfg` is the command `carsfg`."""

from carsfg.cli import entry_point

entry_point()
