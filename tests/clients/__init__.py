"""Replicate's own clients and Vercel's, as they are on PyPI and npm, against the local stack: `make test-clients`."""
