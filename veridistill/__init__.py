"""veridistill: Self-Verified Distillation. A language model improves itself from unlabeled questions.

The command `veridistill` does everything; these names are for programs that build on it. Importing this package loads
neither torch nor transformers.
"""

__version__ = "0.1.0"
