"""Values and arithmetic that every other package speaks in.

Nothing here reads a clock, draws a random number, opens a socket or writes a log line; nothing here knows a venue's words.
"""
