"""Who may use which board, until when: rules.py decides, store.py keeps, heartbeat.py renews."""
