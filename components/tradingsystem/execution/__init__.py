"""From a signal to a flat account. It trusts the broker's word over its own, the journal over its memory, and sends nothing the gate has not approved."""
