"""Each service with what it asks for, one module per service: with few side doors the only files that know adapters, services and the simulator."""
