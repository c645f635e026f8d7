"""`python -m uls_data` is `uls-data`."""

from uls_data.cli import main

if __name__ == "__main__":
    main()
