"""From the members' scores to what a decision needs: p, its lower bound and the confidence. No graph, no runtime, no clock."""
