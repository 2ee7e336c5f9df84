"""Faults that would release a wrong model, each as a change of the source that a test must see.

A mutant replaces `old` by `new` in one file of src/roundhouse, where `old` must stand exactly once,
so that code that moves takes its mutant along. `test` is an existing test, by its node id.
"""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One fault."""

    name: str
    file: str
    old: str
    new: str
    test: str


_RL, _PPO, _EVAL = "learn/rl.py", "learn/ppo.py", "evaluation.py"
_REWARD, _AGGREGATE, _GATE = "learn/reward.py", "raters/aggregate.py", "gate.py"
_PREFERENCES = "learn/preferences.py"
_STATE, _UPDATE = "learn/ppo_state.py", "learn/ppo_update.py"
_T_RL, _T_PPO, _T_EVAL = (
    "tests/learn/test_rl.py", "tests/learn/test_ppo.py", "tests/test_evaluation.py",
)  # fmt: skip
_T_LORA = "tests/learn/test_lora.py"
_T_MANY = "tests/learn/test_parallel.py"
_T_AGGREGATE, _T_GATE, _T_REWARD = (
    "tests/raters/test_aggregate.py", "tests/test_gate.py", "tests/learn/test_reward.py",
)  # fmt: skip

#: What the reward is, and what PPO does with it.
LEARNING = (
    Mutant(
        "reward sign", _RL, "end[:, None], scores[:, None]", "end[:, None], -scores[:, None]",
        f"{_T_RL}::test_the_score_stands_once_after_the_last_token",
    ),
    Mutant(
        "reward a token late", _RL, "lengths < limit, lengths, lengths - 1",
        "lengths < limit - 1, lengths + 1, lengths - 1",
        f"{_T_RL}::test_the_score_stands_once_after_the_last_token",
    ),
    Mutant(
        "advantage sign", _RL, "-advantages * ratio, ", "advantages * ratio, ",
        f"{_T_RL}::test_the_clip_stops_what_went_far_enough",
    ),
    Mutant(
        "KL price sign", _RL, "width), -kl_coef * kl", "width), kl_coef * kl",
        f"{_T_RL}::test_the_score_stands_once_after_the_last_token",
    ),
    Mutant(
        "KL sign", _RL, "log_ratio = new - reference", "log_ratio = reference - new",
        f"{_T_RL}::test_kl_estimates_agree_with_the_divergence_itself",
    ),
    Mutant(
        "KL arguments swapped in PPO", _PPO, "rl.kl_estimate(old, reference)",
        "rl.kl_estimate(reference, old)",
        f"{_T_PPO}::test_the_reward_of_an_answer_is_its_score_less_the_price_of_kl",
    ),
    Mutant(
        "DPO pair swapped", "learn/dpo.py", "rewards[:, 0] - rewards[:, 1]",
        "rewards[:, 1] - rewards[:, 0]", "tests/learn/test_dpo.py::test_the_loss_by_hand",
    ),
    Mutant(
        "DPO without a reference", "learn/dpo.py", "beta * (policy - reference)", "beta * policy",
        "tests/learn/test_dpo.py::test_the_loss_by_hand",
    ),
    Mutant(
        "DPO labels turned", "learn/dpo.py", "reference, beta), p, weights,",
        "reference, beta), 1 - p, weights,", "tests/learn/test_dpo.py::test_the_loss_by_hand",
    ),
    Mutant(
        "DPO on the evaluation pairs", "learn/align.py", 'newest(sides["train"], ',
        'newest(sides["train"] + sides["eval"], ',
        "tests/learn/test_dpo.py::test_the_stage_writes_its_files_and_the_same_bytes_twice",
    ),
    Mutant(
        "reference that learns", "learn/align.py", "return copy.deepcopy(reference)",
        "return reference",
        f"{_T_PPO}::test_the_stage_writes_its_files_and_the_same_bytes_twice",
    ),
    Mutant(
        "reference with the adapter on", "learn/lora.py", "copy.deepcopy(base, shared)", "base",
        f"{_T_LORA}::test_before_the_first_update_policy_and_reference_are_one_and_then_adapters_move",
    ),
    Mutant(
        "adapters that share their base's values", "learn/lora.py", "merge(safe_merge=True)",
        "merge()",
        f"{_T_LORA}::test_merged_it_says_what_the_adapters_said_and_peft_loads_them_too",
    ),
    Mutant(
        "adapters merged without their scale", "learn/lora.py", "layer.merge(",
        "layer.scaling.update({_NAME: 1.0}) or layer.merge(",
        f"{_T_LORA}::test_merged_it_says_what_the_adapters_said_and_peft_loads_them_too",
    ),
    Mutant(
        "adapters left out of the model", "learn/lora.py", "layer.merge(safe_merge=True)", "pass",
        f"{_T_LORA}::test_merged_it_says_what_the_adapters_said_and_peft_loads_them_too",
    ),
    Mutant(
        "another's part counted twice", "learn/supervised.py", "own * loss_of(part, batch)",
        "loss_of(part, batch)", f"{_T_MANY}::test_two_processes_have_the_losses_and_weights_of_one",
    ),
    Mutant(
        "gradients of shards averaged", "learn/parallel.py", "set_gradient_divide_factor(1.0)",
        "set_gradient_divide_factor(2.0)",
        f"{_T_MANY}::test_two_processes_have_the_losses_and_weights_of_one",
    ),
    Mutant(
        "every process goes on with the first one's draws", _STATE,
        "[parallel.place()].clone()", "[0].clone()",
        f"{_T_MANY}::test_processes_that_die_go_on_with_their_own_draws_and_end_with_the_same_bytes",
    ),
    Mutant(
        "objective lost with the shards", "learn/reward_model.py",
        "plain.voices, plain.mean, plain.std = model.voices, model.mean, model.std", "pass",
        f"{_T_MANY}::test_two_processes_have_the_losses_and_weights_of_one",
    ),
    Mutant(
        "action mask a token long", _RL, "< lengths[:, None]\n\n\ndef value_mask",
        "<= lengths[:, None]\n\n\ndef value_mask",
        f"{_T_RL}::test_masks_count_tokens_and_the_state_after_them",
    ),
    Mutant(
        "value mask a state short", _RL, "< lengths[:, None] + 1", "< lengths[:, None]",
        f"{_T_RL}::test_masks_count_tokens_and_the_state_after_them",
    ),
    Mutant(
        "mask ignored", _RL, "torch.where(mask, values, torch.zeros_like(values))", "values",
        f"{_T_RL}::test_masked_mean_never_sees_padding",
    ),
    Mutant(
        "logits a token late", "learn/models.py", "batch.prompt_width - 1, batch.tokens",
        "batch.prompt_width, batch.tokens",
        "tests/learn/test_models.py::test_the_temperature_divides_every_logprob",
    ),
    Mutant(
        "clip the wrong way", _RL, "torch.maximum(plain, clipped)", "torch.minimum(plain, clipped)",
        f"{_T_RL}::test_the_clip_stops_what_went_far_enough",
    ),
    Mutant(
        "discount forgotten", _RL, "gamma * value_after", "value_after",
        f"{_T_RL}::test_gae_agrees_with_its_definition",
    ),
    Mutant(
        "temperature forgotten", _RL, "logits.float() / temperature", "logits.float()",
        f"{_T_RL}::test_logprobs_are_those_of_the_tempered_softmax",
    ),
    Mutant(
        "EOS ignored in sampling", "learn/sampling.py", "step.tokens[live] == eos",
        "step.tokens[live] == -1", "tests/learn/test_sampling.py",
    ),
    Mutant(
        "EOS penalty for those that end", _RL, "torch.where(ended, scores, worse)",
        "torch.where(ended, worse, scores)",
        f"{_T_RL}::test_an_answer_without_end_is_penalised",
    ),
    Mutant(
        "EOS never taught", "learn/text.py", "[*ids, end][:limit]", "[*ids][:limit]",
        "tests/learn/test_text.py",
    ),
    Mutant(
        "scores not standardised", "learn/reward_model.py",
        "return (self.raw(batch) - self.mean) / self.std", "return self.raw(batch)",
        "tests/learn/test_reward_model.py",
    ),
    Mutant(
        "score read a token early", "learn/reward_model.py", "batch.lengths[:, None, None].expand",
        "(batch.lengths[:, None, None] - 1).expand", "tests/learn/test_reward_model.py",
    ),
    Mutant(
        "the kindest member pays", "learn/ensemble.py", "opinions.min(dim=1)",
        "opinions.max(dim=1)",
        "tests/learn/test_ensemble.py::"
        "test_no_objective_pays_more_than_the_mean_and_agreement_costs_nothing",
    ),
    Mutant(
        "stale critic", _PPO, "own * state.critic.values",
        "own * task.reward.values",
        f"{_T_PPO}::test_the_critic_learns_what_answers_are_worth_and_is_asked_as_it_is_now",
    ),
    Mutant(
        "critic not taught", _UPDATE, "share * block.value_coef * found.loss",
        "share * 0.0 * found.loss",
        f"{_T_PPO}::test_the_critic_learns_what_answers_are_worth_and_is_asked_as_it_is_now",
    ),
    Mutant(
        "shared critic not taught", _UPDATE, "_backward(loss + more)", "_backward(loss)",
        f"{_T_PPO}::test_the_critic_learns_what_answers_are_worth_and_is_asked_as_it_is_now",
    ),
    Mutant(
        "critic not in a checkpoint", _STATE, '(self.critic, saved["critic"])',
        '(self.policy, saved["policy"])',
        "tests/learn/test_checkpoint.py::"
        "test_a_training_that_dies_at_any_step_ends_with_the_same_bytes",
    ),
    Mutant(
        "draws begin anew after a death", _STATE,
        'self.generator.set_state(saved["generators"][parallel.place()].clone())', "pass",
        "tests/learn/test_checkpoint.py::"
        "test_a_training_that_dies_at_any_step_ends_with_the_same_bytes",
    ),
    Mutant(
        "moments begin anew after a death", "learn/optimizers.py",
        "part.load_state_dict(_like(state, part))", "part.zero_grad()",
        "tests/learn/test_checkpoint.py::"
        "test_a_training_that_dies_at_any_step_ends_with_the_same_bytes",
    ),
    Mutant(
        "a collapsed seed is taken", "learn/seeds.py", "return not one.faults, objective",
        "return bool(one.faults), objective",
        "tests/learn/test_seeds.py::"
        "test_the_best_that_passes_is_taken_and_each_seed_is_on_record",
    ),
)  # fmt: skip

#: From votes to pairs, and from pairs to reward model and judge.
DATA = (
    Mutant(
        "swapped pair", _REWARD, "(first - second).T", "(second - first).T",
        f"{_T_REWARD}::test_the_better_answer_scores_higher",
    ),
    Mutant(
        "swapped margin", _PREFERENCES, "numpy.array(first) - numpy.array(second)",
        "numpy.array(second) - numpy.array(first)",
        "tests/learn/test_preferences.py::test_a_margin_is_the_score_of_a_less_that_of_b",
    ),
    Mutant(
        "label flipped at aggregation", _AGGREGATE, "label == FIRST, 1 - sure, sure",
        "label == FIRST, sure, 1 - sure", f"{_T_AGGREGATE}::test_labels_by_mode",
    ),
    Mutant(
        "canonical order without its label", "raters/table.py",
        "return 1 - label if swapped and", "return label if swapped and",
        f"{_T_AGGREGATE}::test_the_order_in_which_answers_stood_changes_nothing",
    ),
    Mutant(
        "worse over better rating", "raters/table.py", "(one, other) if high > low",
        "(one, other) if high < low", "tests/raters/test_table.py",
    ),
    Mutant(
        "weights ignored by the reward model", _REWARD, "(losses * weights).sum()", "losses.sum()",
        f"{_T_REWARD}::test_the_loss_is_the_weighted_cross_entropy_of_soft_labels",
    ),
    Mutant(
        "weights ignored by SFT", "learn/sft.py", "batch.action_mask * weights[:, None]",
        "batch.action_mask * torch.ones_like(weights)[:, None]", "tests/learn/test_sft.py",
    ),
    Mutant(
        "suspended raters vote", "raters/verdict.py", '"suspended": 0.0', '"suspended": 1.0',
        "tests/raters/test_stage.py::test_a_persons_word_reaches_training",
    ),
    Mutant(
        "rater weights ignored", _AGGREGATE, "np.bincount(code, weight * for_first",
        "np.bincount(code, for_first", f"{_T_AGGREGATE}::test_labels_by_mode",
    ),
    Mutant(
        "panel and others change places", _AGGREGATE, '(side == "judge") == sits',
        '(side == "judge") != sits',
        f"{_T_AGGREGATE}::test_only_who_may_speak_speaks_and_excluded_rows_never_appear",
    ),
    Mutant(
        "everybody teaches the judge", _AGGREGATE, '(side == "judge") == sits',
        '(side == "judge") | ~sits', f"{_T_AGGREGATE}::test_a_rater_heard_on_both_sides_is_named",
    ),
    Mutant(
        "judge trained on PPO's prompts", _REWARD, 'by_side(raters)["judge"]',
        'by_side(raters)["train"]',
        f"{_T_REWARD}::test_the_stage_writes_both_models_and_the_same_bytes_twice",
    ),
    Mutant(
        "side salt changed", "feedback.py", "(salt + key)", "(salt + 'x' + key)",
        "tests/test_feedback.py::test_a_prompt_has_the_side_that_it_always_had",
    ),
    Mutant(
        "evaluation rows train the reward model", _PREFERENCES,
        'sides[row["side"]].append(_pair(row))',
        'sides["judge" if row["side"] == "judge" else "train"].append(_pair(row))',
        f"{_T_EVAL}::test_one_evaluation_row_among_those_that_train_is_a_leak",
    ),
    Mutant(
        "an earlier model on what it learned from", "learn/prequential.py",
        "pair.since > earlier.round", "pair.since >= earlier.round",
        "tests/learn/test_prequential.py::test_only_pairs_that_nobody_had_judged_count",
    ),
    Mutant(
        "evaluation rows train SFT", "learn/sft.py", 'if row["side"] == side',
        'if row["side"] != "judge"', "tests/learn/test_sft.py",
    ),
    Mutant(
        "PPO on the judge's prompts", "learn/align.py", 'if row["side"] == "train"',
        'if row["side"] != "eval"',
        f"{_T_PPO}::test_the_stage_writes_its_files_and_the_same_bytes_twice",
    ),
    Mutant(
        "training prompts measure", "heldout.py",
        '_distinct(row for row in rows if row["side"] == "eval")',
        '_distinct(row for row in rows if row["side"] != "judge")',
        "tests/test_heldout.py::test_only_evaluation_prompts_are_chosen_each_once",
    ),
    Mutant(
        "evaluation side empty", "feedback.py", 'return "eval"\n', 'return "train"\n',
        "tests/test_feedback.py",
    ),
)  # fmt: skip

#: Measuring and deciding.
DECIDING = (
    Mutant(
        "KL sign in evaluation", _EVAL, "ratio = ratio - models.response_logprobs(reference.model",
        "ratio = -ratio + models.response_logprobs(reference.model",
        f"{_T_EVAL}::test_kl_is_the_sum_of_log_ratios_over_the_answer_alone",
    ),
    Mutant(
        "challenger compared with itself", _EVAL, '"reference": root / "out" / "sft"',
        '"reference": root / "out" / "align"',
        f"{_T_EVAL}::test_the_stage_writes_answers_figures_and_the_safety_set",
    ),
    Mutant(
        "champion never asked", _EVAL, 'return "champion" if "champion" in row["answers"] else',
        'return "reference" if "champion" in row["answers"] else',
        f"{_T_EVAL}::test_with_a_champion_the_baseline_is_the_champion",
    ),
    Mutant(
        "length not held equal", "winrate.py",
        "np.tanh(difference / spread) if spread > 0 else", "",
        "tests/test_winrate.py::test_a_judge_who_only_likes_length_sees_no_better_answers",
    ),
    Mutant(
        "win-rate sides swapped", _EVAL,
        'win((answers["challenger"], scores["challenger"]), (answers[other], scores[other]))',
        'win((answers[other], scores[other]), (answers["challenger"], scores["challenger"]))',
        f"{_T_EVAL}::test_figures_of_a_table_by_hand",
    ),
    Mutant(
        "the worse score wins", "winrate.py", "challenger[1] > baseline[1]",
        "challenger[1] < baseline[1]", "tests/test_winrate.py::test_a_win_is_a_preference",
    ),
    Mutant(
        "ties are wins", "winrate.py", "return 0.5", "return 1.0",
        "tests/test_winrate.py::test_a_win_is_a_preference_and_a_tie_is_half",
    ),
    Mutant(
        "no correction for many domains", "winrate.py", "(1 - self.confidence) / comparisons",
        "(1 - self.confidence)", "tests/test_winrate.py::test_domains_are_judged_together",
    ),
    Mutant(
        "leaks not counted", "heldout.py", "& set(trained))", "& set())",
        "tests/test_heldout.py::test_a_prompt_that_measures_and_trains_is_a_leak_whatever_its_rows_say",
    ),
    Mutant(
        "scores that are no numbers count", _EVAL, "return value if math.isfinite(value) else None",
        "return value if math.isfinite(value) else 0.0",
        f"{_T_EVAL}::test_a_challenger_with_nan_weights_is_held",
    ),
    Mutant(
        "infinity passes as finite", _GATE, "value in figures.items() if not math.isfinite(value)",
        "value in figures.items() if math.isnan(value)",
        f"{_T_GATE}::test_nan_and_infinity_hold_wherever_they_stand",
    ),
    Mutant(
        "a missing figure passes", _GATE, "return Reason(name, False, None, limit, f",
        "return Reason(name, True, None, limit, f",
        f"{_T_GATE}::test_a_missing_figure_fails_its_rule",
    ),
    Mutant(
        "upper for lower bound", _GATE, '"evaluate/win_rate_low",', '"evaluate/win_rate_high",',
        f"{_T_GATE}::test_each_rule_stops_what_it_is_for",
    ),
    Mutant(
        "margin the wrong way", _GATE, "0.5 + settings.win_margin", "0.5 - settings.win_margin",
        f"{_T_GATE}::test_settings_move_the_limits",
    ),
    Mutant(
        "relation turned", _GATE, '"at most": (operator.le', '"at most": (operator.ge',
        f"{_T_GATE}::test_each_rule_stops_what_it_is_for",
    ),
    Mutant(
        "the same model passes", _GATE, "identical < 1, identical", "identical <= 1, identical",
        f"{_T_GATE}::test_settings_move_the_limits",
    ),
    Mutant(
        "other bytes pass the smoke test", _GATE, "smoke.sha256 != candidate.model", "False",
        f"{_T_GATE}::test_bytes_that_no_fresh_process_answered_with_are_held",
    ),
    Mutant(
        "anything may be accepted", _GATE, "reason.rule in OVERRULABLE and reason.rule in accepted",
        "reason.rule in accepted",
        f"{_T_GATE}::test_a_person_overrules_safety_and_nothing_else",
    ),
    Mutant(
        "the wrong baseline passes", _GATE, "if against_champion != wanted:", "if False:",
        f"{_T_GATE}::test_a_first_round_is_measured_against_its_reference",
    ),
    Mutant(
        "no panel, yet a judge", _GATE, "if not panel.passed:", "if False:",
        f"{_T_GATE}::test_the_second_figure_of_a_rule_stops_it_too",
    ),
    Mutant(
        "the truth of the simulation decides", _GATE, "    if told:", "    if False:",
        f"{_T_GATE}::test_the_truth_of_the_simulation_cannot_reach_the_gate",
    ),
    Mutant(
        "old flagged texts may be said again", "safety.py", "before, near >= threshold)",
        "before, near >= threshold and near > before)",
        "tests/test_safety.py::test_whatever_comes_near_is_a_violation_whoever_said_it_before",
    ),
    Mutant(
        "weights that are no numbers load", "weights.py", "(data & bits) == bits",
        "(data & bits) == -1",
        "tests/test_weights.py::test_one_weight_that_is_not_finite_is_found",
    ),
    Mutant(
        "code of a model's own", "model_folder.py", '_ASKS = ("auto_map", ', '_ASKS = (',
        "tests/test_model_folder.py::test_code_of_the_models_own_is_refused",
    ),
)  # fmt: skip

MUTANTS = (*LEARNING, *DATA, *DECIDING)
