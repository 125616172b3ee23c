"""Measurements: `make bench` writes what it found to infra/bench/results/."""
