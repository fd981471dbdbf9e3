"""A fake of CuPy, as far as its layer over the CUDA runtime API goes."""

__version__ = "13.0.0"
