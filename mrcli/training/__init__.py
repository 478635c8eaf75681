"""Training of backbone and adapters on scans that are simulated on the fly."""
