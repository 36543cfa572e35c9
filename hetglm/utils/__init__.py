"""Messages, argument checks, linear algebra, seeded parallel loops and axes; no statistics."""
