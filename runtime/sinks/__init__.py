"""The sinks, which receive the ticks of a loop. Each kind of sink has its own module."""
