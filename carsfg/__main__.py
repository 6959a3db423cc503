"""`python -m carsfg` is the command `carsfg`."""

from carsfg.main import entry_point

entry_point()
