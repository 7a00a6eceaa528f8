"""Every name under which the system is observed, once: metrics, spans, log setup. It decides nothing and no decision reads it."""
