"""What was measured: store.py keeps it, tables.py shows it to people, export.py and report.py hand it on."""
