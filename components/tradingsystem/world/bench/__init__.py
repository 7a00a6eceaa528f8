"""What this machine measures, beside the goals: one module per row, real parts in each, and a missed goal printed as missed.

It times and decides nothing: no test asks how fast anything was.
"""
