"""Keeps what happened: the tape's batches and the journal's entries, byte for byte, so that a run can be fed to the same code again."""
