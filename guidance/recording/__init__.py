"""Recording and reading back: what the core consumed and said, crash-safe, off the hot path."""
