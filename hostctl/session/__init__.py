"""The measuring session: a plan, the nine steps of one measurement, and the results that come out."""
