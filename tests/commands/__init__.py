"""Tests of carsfg.commands."""
