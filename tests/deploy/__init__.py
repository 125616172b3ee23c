"""`make deploy` and `make destroy`, as a person uses them, with the real SAM CLI and the local stack's AWS."""
