"""Unusual Whales' options flow by REST. An alert is known when we received it, whatever it says about when it happened."""
