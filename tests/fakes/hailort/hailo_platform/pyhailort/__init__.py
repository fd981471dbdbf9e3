"""The fake of HailoRT's bindings."""
