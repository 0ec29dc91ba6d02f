"""The lab: a laptop-scale world of questions and a tiny Qwen3 that was post-trained on it.

It is the embedded default of `veridistill run` and the project's test bench. `world` makes questions, `texts` the
reference replies of the simulated post-training, `tokenizer` and `pretrain` the model; `quality` compares a build with
the world's answers. Nothing outside this package, its tests and its benchmarks reads an answer.
"""
