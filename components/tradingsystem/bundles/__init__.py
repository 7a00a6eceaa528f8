"""A model version: what it is made of, how it is verified, how its graph is built. Nothing here trains, serves or decides a promotion."""
