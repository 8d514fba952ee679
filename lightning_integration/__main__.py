"""`python -m lightning_integration`."""

from insight_ext.progress import end_program
from lightning_integration.program import start

if __name__ == "__main__":
    end_program(start("lightning_integration.cli"))
