"""Seeded days of execution in virtual time, with faults, and what must hold on each of them."""
