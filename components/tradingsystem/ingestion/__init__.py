"""Ingestion: many feeds become one ordered tape. It alone decides what comes before what, which rows are believed, and which source is heard.

Everything here is pure except ``service.py``, which owns the sockets' output, the clock and the bus.
"""
