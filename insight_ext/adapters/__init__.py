"""The loop inside trainers that people use: one file each, over `SelectionLoop`."""
