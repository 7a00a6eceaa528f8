"""Polygon.io, now called Massive: stocks and indices by WebSocket. Its words stay in this folder; hosts are settings, because both names are in use."""
