"""Lists the commands: `python -m experiments`."""

from stfer.__main__ import main

if __name__ == "__main__":
    main()
