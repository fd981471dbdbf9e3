"""One file for each runtime. A file imports its vendor package late, when the runner is made."""
