"""The verbs of `hostctl`, one file a group. Each is a thin layer: options in, one call, a table or JSON out."""
