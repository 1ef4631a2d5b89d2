"""The command `orilla deploy`: put a new release of a bundle on a device, and roll it back."""
