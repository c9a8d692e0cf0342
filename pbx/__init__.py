"""Calls and legs, who hears whom, registrations, trunks, ringing: the one place where call state lives."""
