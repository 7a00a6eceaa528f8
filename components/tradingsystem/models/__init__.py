"""Which model version serves, and why. Training and publishing happen elsewhere; nothing here builds a graph."""
