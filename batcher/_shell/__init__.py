"""The shell: all that waits. It owns tasks, timers and waiters, and decides nothing."""
