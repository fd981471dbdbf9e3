"""From a trace and its windows to energies: integrals, idle, noise, uncertainty, budget, flags. Pure functions only."""
