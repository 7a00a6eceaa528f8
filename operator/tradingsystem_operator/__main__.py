"""``python -m tradingsystem_operator``."""

from tradingsystem_operator.main import main

if __name__ == "__main__":
    main()
