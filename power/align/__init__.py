"""How times of a board, an instrument and the host are brought onto one clock. Pure: arrays in, relations with bounds out."""
