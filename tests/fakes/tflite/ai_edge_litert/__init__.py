"""Not there: on a machine whose oldest Python has the real package, the fake beside this one has to be found instead."""

raise ModuleNotFoundError("No module named 'ai_edge_litert'", name="ai_edge_litert")
