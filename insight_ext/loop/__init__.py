"""The loop: choose prompts, take in results, save."""
