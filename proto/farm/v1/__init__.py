"""Version 1 of the Wattfarm protocol: generated from the .proto files beside this module by `make proto`."""
