"""The command `orilla deploy`: put a new release of a bundle on a device, with a way back."""
