"""The terminal: a console for the results of commands, and the progress of long operations on standard error."""
