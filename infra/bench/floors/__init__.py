"""The floors: the least code that does a function's work with the same packages; nothing is checked."""
