"""How bytes reach an instrument: one file a kind of address. Nothing here knows what they mean."""
