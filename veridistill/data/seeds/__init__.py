"""Seed questions from files; everything is imported from here.

`files` finds the files, here or on the Hub; `formats` reads their rows; `template` and `options` make a question of a
row's columns, `reading` a `Seed`; `loading` drops what is there twice or in a benchmark. Everything is read and
checked before any model call. Only the columns that the configuration names are used: an answer that a file also holds
can change nothing.
"""

from veridistill.data.seeds.loading import Seeds, in_shard, load

__all__ = ["Seeds", "in_shard", "load"]
