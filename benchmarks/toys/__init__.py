"""Tasks small enough to be a test, with known best behaviour."""
