"""What `make build` makes: looked into, and run as Lambda runs it."""
