"""The command line and the wiring: builds the house, and alone knows every room."""
