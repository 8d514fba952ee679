"""`python -m lightning_integration`."""

from lightning_integration.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
