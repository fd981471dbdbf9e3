"""A fake of cuda-bindings (CUDA 12 and later)."""
