"""Rooms: who is in them and what each of them hears."""
