"""Run the command line with ``python -m mrcli``."""

from mrcli.cli.start import main

if __name__ == "__main__":
    main()
