"""Reads just enough of a model file to judge it before a vendor runtime sees it. Standard library only."""
