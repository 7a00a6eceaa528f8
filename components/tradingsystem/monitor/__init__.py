"""Watches the others: who is alive, who agrees, what is wrong. It reads beats and states and can order nothing."""
