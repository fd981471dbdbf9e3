"""`python -m farmd`: the same as the command `farmd`."""

from farmd.main import main

main()
