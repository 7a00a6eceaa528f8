"""The whole system at once: days that are run, recorded, replayed, reported and learned from."""
