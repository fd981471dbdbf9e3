"""Generated Python of the Wattfarm protocol."""
