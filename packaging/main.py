"""What the bundle runs: the same entry point as the `edgesip` script of a wheel."""

from edgesip.cli.main import main

if __name__ == "__main__":
    main()
