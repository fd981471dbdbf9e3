"""Where the real package keeps its native half."""
