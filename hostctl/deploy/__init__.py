"""Installs farmd on a board over ssh: wheels from this workstation, a venv made offline, a service that is watched.

docs/deploy.md is the page for users. Nothing on the board changes what runs there before the very last step, and that
step ends by itself on the board, healthy or rolled back, whether or not the connection lives.
"""
