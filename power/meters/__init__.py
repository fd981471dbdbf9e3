"""One file a driver. power/catalogue.py knows their names and imports them late."""
