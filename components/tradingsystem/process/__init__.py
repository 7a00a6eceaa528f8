"""What a process is: its life, its health, its supervisor, and the one place that knows who implements which interface."""
