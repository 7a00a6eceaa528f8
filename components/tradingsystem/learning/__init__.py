"""Labels, fitting and what is known afterwards. Training never serves: a fitted model leaves here as weights and numbers, nothing else."""
