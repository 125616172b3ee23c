"""What `make audit` asks of the code, the templates and the pinned versions."""
