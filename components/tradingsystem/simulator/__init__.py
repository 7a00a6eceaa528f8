"""The venues' side: a market, an exchange and a broker on loopback. It imports no adapter and nothing of how we decide."""
