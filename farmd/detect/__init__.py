"""`farmd --detect`: what this machine is, what accelerators it has, and the farmd.toml for it.

Everything reads below a root, so that tests fake whole boards; only `runtimes.py` starts processes. The daemon itself imports
none of it.
"""
