"""From the tape to signals: state, regime, funnel, features, one inference, signals. Everything but ``service.py`` is a function of its input."""
