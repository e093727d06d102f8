"""`python -m slonik`."""

from slonik.cli.main import main

if __name__ == "__main__":
    main()
