"""What the operator said: the settings file, the configuration database, and the frozen snapshot of it.

This room imports no other room of the house.
"""
