"""What crosses a process: subjects, who may use them, the envelope, codecs, the schema's version. No classes for nouns that ``domain`` has."""
