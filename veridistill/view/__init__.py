"""`veridistill view RUN`: a run's questions and exam transcripts in the browser, while the run is on, too.

Nothing of the run is locked or changed; only `RUN/labels.jsonl` and an index under `RUN/view` are written. `rounds`
says what there is to show, `items`, `built`, `asked` and `exams` make the entries of an index of it, `index` keeps
them, `indexing` does so in the background, and `search` finds them. `question` and `problem` read one entry in full,
`labelling` and `sample` are for labels. `site` answers requests, behind `guard`; `serve` runs it.
"""
