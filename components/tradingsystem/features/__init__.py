"""The 50 features: one table of what they are, a fast kernel and a plain oracle that answer alike."""
