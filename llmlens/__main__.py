"""`python -m llmlens` is `llmlens`."""

from llmlens.cli import main

if __name__ == "__main__":
    main(prog_name="llmlens")
