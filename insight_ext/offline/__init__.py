"""From logs of past runs to prompts and data sets."""
