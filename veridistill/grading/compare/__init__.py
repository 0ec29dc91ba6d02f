"""Answers compared as text: pure, and nothing is ever evaluated."""
