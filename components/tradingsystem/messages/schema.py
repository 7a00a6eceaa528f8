"""The version of everything on the wire. Raise it with any change of a message, a column or a subject; services that differ do not trade."""

SCHEMA_VERSION = 4
