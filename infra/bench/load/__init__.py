"""Load on the local stack: `make load` writes what it found to infra/bench/results/load.*."""
