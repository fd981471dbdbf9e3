"""One file for each runtime. A file imports its vendor package late, inside its methods.

To add one: a file here with a subclass of targets.runner.Runner (fill version, _load, _bind, _outputs; read settings back
into ``effective`` and say every silent fallback in ``fallbacks``), a line in targets/catalogue.py, and its models in
tests/targets/test_runners.py, whose conformance test then walks it. A runner that lives elsewhere is added by the
operator through WATTFARM_RUNNERS (targets/catalogue.py).
"""
