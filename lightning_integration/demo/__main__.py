"""`python -m lightning_integration.demo`, which `make train` runs."""

from lightning_integration.program import start

if __name__ == "__main__":
    raise SystemExit(start("lightning_integration.demo.experiment"))
