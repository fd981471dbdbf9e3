"""A fake of cuda.bindings."""

__version__ = "13.0.0"
