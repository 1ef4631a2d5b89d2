"""The command `orilla bench`."""
