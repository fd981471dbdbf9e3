"""One file for each runtime; what several share, and what would make one too long, is in parts/. A vendor's package is imported
late, inside of methods. How to add one: docs/porting.md.
"""
