"""A fake of cuda-python 11 and 12, which later gave way to cuda-bindings."""
