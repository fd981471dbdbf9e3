"""Runs models on accelerators: runner interface, one file a runtime, worker process, board catalogue."""
