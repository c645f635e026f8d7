"""`python -m uls_data` is `uls-data`."""

if __name__ == "__main__":  # workers import this file under another name, without the commands
    from uls_data.cli import main

    main()
