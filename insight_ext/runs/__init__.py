"""What a run leaves in its folder: its layout, and how it is read."""
