"""How fast each part is, timed beside a reference."""
