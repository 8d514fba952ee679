"""The compiled scores and top-k selection, and their specification."""
