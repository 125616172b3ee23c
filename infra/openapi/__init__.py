"""The published interface: made from the code that serves, compared with what callers were promised."""
