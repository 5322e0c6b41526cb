"""``python -m doamlib``: the command line, also where the package is not installed."""

from doamlib.cli import main

if __name__ == "__main__":
    main()
