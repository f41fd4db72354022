"""`python -m qjax`, where the command `qjax` is not on the path."""

from qjax.cli.main import main

if __name__ == "__main__":
    main()
