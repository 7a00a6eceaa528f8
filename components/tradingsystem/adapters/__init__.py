"""The outside world, one venue or system per folder or file. Nobody but ``process.assembling`` and its side doors imports from here."""
