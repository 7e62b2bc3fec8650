"""``python -m mechgrok``: the command line."""

from mechgrok.cli.main import main

if __name__ == "__main__":
    main()
