"""Simulated instruments. They speak the real byte protocols over TCP, pseudo-terminals and MQTT, measure a power that is known,
and fail on request as real ones do. They know the true energy, so whoever reads them can check the number.
"""
