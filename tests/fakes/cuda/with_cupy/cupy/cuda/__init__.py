"""A fake of cupy.cuda."""
