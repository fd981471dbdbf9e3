"""What instruments say and mean: one file an instrument. power/catalogue.py knows their names and imports them late."""
