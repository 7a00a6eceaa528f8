"""What is known of the market, as columns: prices, bars, rings and decayed flows, changed only by rows and by market time."""
