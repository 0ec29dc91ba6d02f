"""The one path to a model: ask, the gate that admits calls by need, the journal, and replay without a model."""
