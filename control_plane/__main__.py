"""`python -m control_plane`."""

from control_plane.cli import main

main()
