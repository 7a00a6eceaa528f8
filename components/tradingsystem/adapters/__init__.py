"""The outside world, one venue or system per folder or file. Nobody but ``process.wiring`` imports from here."""
