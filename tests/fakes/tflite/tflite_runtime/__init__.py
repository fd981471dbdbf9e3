"""A fake of tflite_runtime 2.5, what Coral's boards have: interpreter.Interpreter and load_delegate."""

import fake_loader
import faking

__version__ = "2.5.0.post1"

fake_loader.install()
faking.trip("import")
