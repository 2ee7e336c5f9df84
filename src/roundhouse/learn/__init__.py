"""The learning core: supervised fine-tuning, reward models and PPO for Hugging Face models.

models.py         load and save causal language models, safely; the from-scratch tiny Llama
tokenizer.py      its word-level tokenizer; what any tokenizer must have for training
text.py           chat messages to tokens, and tokens to padded batches
rl.py             the mathematics of PPO: pure functions on tensors
sampling.py       answers from a policy, with a key-value cache
optimizers.py     Muon and AdamW, and the learning rate's course
lora.py           adapters on the weights of the base, merged at the end of a stage
sft.py            stage: supervised fine-tuning
reward_model.py   a scalar head on a language model; also the judge's
accuracy.py       how well scores predict preferences: accuracy, interval, calibration
reward.py         stage: reward model and judge
ppo.py            stage: proximal policy optimisation
"""
