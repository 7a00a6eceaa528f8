"""Alpaca: orders, updates, account and market data, by our own asynchronous client. Its words stay in this folder."""
