"""The dead-man watcher: cancels entries that have not filled when execution has fallen silent, and does nothing else."""
