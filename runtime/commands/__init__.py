"""The subcommands of the base install, one file each."""
