"""The camera loop: its threads, scheduler, policies, statistics, recordings and replay."""
