"""The camera loop: threads, scheduling, policies, statistics, recording and replay."""
