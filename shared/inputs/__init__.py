"""What each model takes: one module a family of models, one type a model."""
