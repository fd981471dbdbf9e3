"""A fake of PyCUDA, as JetPack 4 has it."""

VERSION = (2021, 1)
VERSION_TEXT = "2021.1"
