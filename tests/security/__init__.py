"""What a hostile stranger could try, in tables: each row says what must come of it. SECURITY.md names these tests."""
