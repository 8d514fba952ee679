"""`python -m insight_ext`."""

from insight_ext.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
