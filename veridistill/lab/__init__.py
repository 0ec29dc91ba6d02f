"""The lab: laptop-scale worlds of questions and a tiny Qwen3 that was post-trained on one of them.

It is the embedded default of `veridistill run` and the project's test bench. `worlds` make questions, and the reference
replies of the simulated post-training; `tokenizer` and `pretrain` make the model; `attacks` are wrong answers to judge;
`quality` compares a build with the worlds' answers. Nothing outside this package, its tests and its benchmarks reads an
answer.
"""
