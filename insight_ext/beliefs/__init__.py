"""Prompts and what is believed about their success rates."""
