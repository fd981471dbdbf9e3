"""`python -m hostctl`."""

from hostctl.main import main

main()
