"""``python -m tradingsystem.cli``: the same as the ``tradingsystem`` command."""

from tradingsystem.cli.main import main

if __name__ == "__main__":
    main()
