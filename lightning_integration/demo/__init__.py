"""The demonstration of `make train`: tasks, a small model, the experiment."""
