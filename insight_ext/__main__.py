"""`python -m insight_ext`."""

from insight_ext.cli.main import main
from insight_ext.progress import end_program

if __name__ == "__main__":
    end_program(main())
