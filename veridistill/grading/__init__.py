"""Whether an answer is right: `compare` is pure; workers and sandbox are processes that can be killed."""
