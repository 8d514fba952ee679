"""`python -m lightning_integration`."""

from lightning_integration.program import start

if __name__ == "__main__":
    raise SystemExit(start("lightning_integration.cli"))
