"""Least privilege, proven: `make test-iam` takes every permission away in turn, and a step of a journey must fail."""
