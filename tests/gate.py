"""What the gate leaves to the whole suite (`pytest -m ""`): other choices of what it tests with one; rehearsals.

A test stands here with the choices of its parameters that the gate keeps, none where it leaves the test out: where
another in the gate fails with it, or where it takes tens of seconds to say more. What is here runs before a change
lands; the gate runs on every one.
"""

import pytest

COLLECTED = pytest.StashKey[list[str]]()
"""Where the ids of all tests stand that were found."""

KEPT: dict[str, tuple[str, ...]] = {
    # agents, algorithms, objectives, networks
    "agents/test_counts.py::test_counts_and_optimism_find_the_treasure_of_a_deep_sea": (),
    "agents/test_ensembles.py::test_a_prior_is_added_and_stays": ("options0-None",),
    "agents/test_ensembles.py::test_each_member_learns_as_it_would_alone": ("0.5",),
    "agents/test_ensembles.py::test_each_member_learns_from_some_of_the_blocks_that_are_learned_once": ("memory0",),
    "agents/test_ensembles.py::test_members_may_remember": (),
    "agents/test_ensembles.py::test_members_that_remember_may_learn_without_it": (),
    "agents/test_members.py::test_a_run_goes_on_bit_for_bit": (),
    "agents/test_members.py::test_averaged_dqn_overestimates_less_than_dqn_and_maxmin_dqn_less_than_both": (),
    "agents/test_members.py::test_averaged_targets_for_every_target_policy": ("munchausen",),
    "agents/test_members.py::test_maxmin_targets_for_every_target_policy": ("double",),
    "agents/test_members.py::test_so_many_members_learn_and_each_at_times": ("1",),
    "agents/test_members.py::test_with_implicit_quantiles_in_a_loop": ("maxmin",),
    "agents/test_normalized.py::test_lanes_have_statistics_of_their_own": (),
    "agents/test_normalized.py::test_statistics_are_saved_and_resumed_bit_for_bit": (),
    "agents/test_pqn.py::test_chunks_equal_one_run": (),
    "agents/test_pqn.py::test_learn_takes_the_steps_that_numpy_takes": (
        "1-1-squared-maximum-0.65",
        "2-6-huber-maximum-1.0",
    ),
    "agents/test_recurrent.py::test_a_run_goes_on_bit_for_bit_in_the_middle_of_episodes": (),
    "agents/test_recurrent.py::test_a_seed_alone_is_the_seed_of_a_sweep": (),
    "agents/test_recurrent.py::test_loss_and_priorities_are_those_of_a_slow_loop": ("3-2-0.9",),
    "agents/test_recurrent.py::test_unrolling_is_acting_step_by_step": ("cell1",),
    "agents/test_recurrent.py::test_what_is_stored_is_what_was_remembered_before_a_row": ("3",),
    "agents/test_recurrent.py::test_what_only_memory_can_know_is_known": (),
    "agents/test_tabular.py::test_q_learning_equals_the_loop": ("1-5", "4-1"),
    "agents/test_traces.py::test_traces_equal_the_slow_loop": ("sarsa-4-1-True-1.0", "watkins-3-2-False-None"),
    "algorithms/test_deep.py::test_constants_of_algorithms_are_swept_in_one_program": (),
    "algorithms/test_deep.py::test_every_algorithm_makes_a_loop_on_images": (),
    "algorithms/test_deep.py::test_every_choice": ("munchausen-quantile-ring-norm-1",),
    "algorithms/test_deep.py::test_known_values": ("dqn-OneStep", "iqn-Sign"),
    "algorithms/test_deep.py::test_known_values_of_pqn": ("Successor",),
    "algorithms/test_deep.py::test_pqn_with_another_head_and_network": (),
    "algorithms/test_remembering.py::test_a_name_is_its_composition": ("bootstrapped-dqn-bootstrapped_dqn-given1",),
    "algorithms/test_tabular_algorithms.py::test_a_step_touches_no_whole_table": ("q-learning--",),
    "algorithms/test_tabular_algorithms.py::test_any_policy_and_a_visit_count": (),
    "algorithms/test_tabular_algorithms.py::test_known_values": ("double-q-learning-Endless", "q-learning-OneStep"),
    "networks/test_networks.py::test_every_update_draws_afresh": ("noisy",),
    "networks/test_networks.py::test_shared_levels_have_the_same_expected_gradient_as_own": (),
    "objectives/test_heads.py::test_a_rescaled_target_is_h_of_the_target_of_values": ("weights0",),
    "objectives/test_masked.py::test_networks_learn_as_those_of_the_others_alone": (
        "quantile-double-dqn",
        "scalar-munchausen-dqn",
    ),
    "objectives/test_masked.py::test_tables_learn_as_those_of_the_others_alone": ("double-q-learning", "q-lambda"),
    "objectives/test_masked.py::test_targets_and_losses_are_those_of_the_others_alone": (
        "categorical-expected",
        "scalar-executed",
        "scalar-maximum",
    ),
    # command line, experiments, documentation
    "cli/test_main.py::test_a_bare_install_says_which_extra_is_missing": ("tyro",),
    "cli/test_plot_command.py::test_files_are_the_same_whenever_written_and_no_device_is_needed": (),
    "cli/test_train.py::test_a_mixed_grid_leaves_one_folder": (),
    "cli/test_train.py::test_a_run_in_wrappers_is_loaded_and_run_again": (),
    "cli/test_train.py::test_every_number_that_may_be_traced_counts": ("pqn", "sarsa-lambda"),
    "cli/test_train.py::test_exact_values_of_every_setting": (),
    "experiments/test_experiments.py::test_cartpole": (),  # the gate runs it whole
    "experiments/test_experiments.py::test_dry_run": (),
    "experiments/test_experiments.py::test_first_index_ties_keep_half_the_seeds_from_the_goal": (),
    "experiments/test_experiments.py::test_train": (),
    "experiments/test_records.py::test_the_page_says_what_is_the_most_that_a_lake_allows": (),
    "experiments/test_records.py::test_training_returns_are_of_the_last_episodes": (),
    "experiments/test_textbook.py::test_who_explores_comes_to_the_treasure_of_a_small_sea": (),
    "experiments/test_textbook.py::test_the_page_reports_the_exact_distance": (),
    "test_benchmarks.py::test_plain_recurrent_pqn_takes_the_steps_of_qjaxs": (),
    # core, exploration
    "cli/test_watch.py::test_the_best_agent_of_a_setting_is_shown_where_there_is_one": (),
    "core/test_default_rules.py::test_algorithms_are_traced_alike": (),  # in the part with the newest JAX
    "core/test_default_rules.py::test_pieces_give_the_same_numbers": (),  # in the part with the newest JAX
    "core/test_random.py::test_streams_of_related_keys_are_uncorrelated": ("1",),
    "core/test_random.py::test_unrolled_threefry_is_threefry": (),  # in the part with the newest JAX
    "core/test_sums.py::test_means_of_many_episodes_and_updates_do_not_drift": (),
    "core/test_sums.py::test_sums_of_many_environments_together": ("2", "7"),
    "exploration/test_policies.py::"
    "test_draw_follows_the_distribution_and_never_takes_an_action_of_probability_zero": ("1", "2", "3", "7", "18"),
    "exploration/test_stateful_policies.py::test_a_run_goes_on_bit_for_bit_in_the_middle_of_a_repetition": (),
    "exploration/test_stateful_policies.py::test_it_is_swept_by_name": (),
    "exploration/test_stateful_policies.py::test_a_seed_alone_is_the_seed_in_a_sweep": (),
    # environments and MDPs
    "envs/test_checking.py::test_named_environments_are_sound": ("FrozenLake-v1",),
    "envs/test_checking.py::test_what_is_broken_is_found": (
        "encode",
        "final_obs of another dtype",
        "first observation as successor",
        "flags of numbers",
        "mask of another shape",
        "no legal action",
        "obs_spec",
        "raises",
        "reward of whole numbers",
        "rewards",
        "state",
        "states",
        "truncated without a limit",
    ),
    "envs/test_environments.py::test_frames_of_flags_are_gymnaxs_own": ("Breakout",),
    "envs/test_legal.py::test_a_lane_comes_through_a_state_without_a_legal_action": ("dqn", "double-q-learning"),
    "envs/test_legal.py::test_masks_among_normalised_floats_are_read_from_what_the_environment_gave": ("dqn",),
    "envs/test_legal.py::test_masks_of_recurrent_networks_are_read_from_what_the_environment_gave": ("dqn",),
    "envs/test_legal.py::test_no_illegal_action_is_executed_or_counted": ("munchausen-dqn",),
    "envs/test_legal.py::test_tables_come_to_the_values_of_the_legal_actions_alone": ("double-q-learning",),
    "envs/test_legal.py::test_where_no_action_is_legal_all_count_and_none_does_after_an_end": (
        "c51-expected",
        "double",
        "maximum",
        "munchausen",
    ),
    "envs/test_names.py::test_a_drawn_map_stands_in_the_config": (),
    "envs/test_probes.py::test_bugs_would_show": (
        "Endless-cut_for_end-q_if_terminated-tabular",
        "Endless-cut_for_end-q_if_terminated-dqn",
        "Successor-cut_for_end-q_if_reset-tabular",
        "Successor-reset_for_successor-q_if_reset-dqn",
    ),
    "envs/test_probes.py::test_known_values": ("OneStep-dqn", "Successor-dqn", "TwoSteps-dqn", "Sign-dqn"),
    "envs/test_suites.py::test_a_pool_has_so_many_first_states": ("threefry",),
    "envs/test_wrappers.py::test_a_loop_learns_in_all_of_them": (),
    "envs/test_wrappers.py::test_each_keeps_what_an_environment_promises": (
        "frame_stack",
        "sticky_actions",
        "time_limit",
    ),
    "envs/test_wrappers.py::test_frame_stack": ("image",),
    "envs/test_wrappers.py::test_pairs": (
        "frame_stack-random_starts",
        "time_limit-repeat_action",
        "cast-flatten",
        "sticky_actions-repeat_action",
        "frame_stack-previous",
    ),
    "envs/test_wrappers.py::test_random_starts": ("True",),
    "envs/test_wrappers.py::test_rewards": ("<lambda>-exp-ends3", "reward_sign-sign-ends2"),
    "envs/test_wrappers.py::test_sticky_actions": ("True",),
    "mdp/test_examples.py::test_gymnaxs_lake_is_gymnasiums_outcome_for_outcome": (
        "False-tiles0",
        "True-tiles0",
        "True-tiles1",
    ),
    "mdp/test_examples.py::test_many_mdps_are_one_program": (),
    "mdp/test_solve.py::test_many_mdps_are_solved_as_one_by_one": (),
    "mdp/test_solve.py::test_policies_against_scipy": (),
    "mdp/test_solve.py::test_reports_against_slow_ones": (),
    "mdp/test_solve.py::test_undiscounted_episodes_against_scipy": ("CliffWalkingSlippery-v1",),
    # replay
    "replay/test_delayed.py::test_the_loop_is_the_textbooks": ("sarsa",),
    "replay/test_delayed.py::test_what_is_learned_equals_the_slow_loop": (
        "2-step-sarsa-1-3",
        "3-step-1-1",
        "5-step-4-1",
        "sarsa-1-1",
        "sarsa-3-2",
    ),
    "replay/test_frames.py::test_batches_are_those_of_whole_transitions": (
        "by_priority-1-2-40-1-6-2-True",
        "folded-1-2-40-3-6-4-False",
        "uniform-1-2-40-1-100-4-False",
        "uniform-4-2-48-2-5-3-False",
    ),
    "replay/test_memory.py::test_ring_holds_and_samples_what_a_deque_holds": (
        "1-1-1-1",
        "1-1-5-4",
        "1-3-12-8",
        "4-3-60-60",
    ),
    "replay/test_n_step.py::test_batches_fold_whatever_episodes_are_stored": (
        "1-2-9-3-ring",
        "4-3-12-5-prioritized",
    ),
    "replay/test_n_step.py::test_windows_never_cross_the_write_head": (
        "1-2-7-3-prioritized",
        "1-2-7-3-ring",
        "2-2-10-6-ring",
        "3-2-9-2-prioritized",
        "4-1-8-8-ring",
    ),
    "replay/test_packing.py::test_there_and_back": ("flags", "image", "several"),
    "replay/test_prioritized.py::test_a_priority_that_is_no_number_flags_its_lane": (),
    "replay/test_prioritized.py::test_a_priority_that_is_no_number_harms_neither_tree_nor_neighbour": (),
    "replay/test_prioritized.py::test_all_exponents_are_swept_in_one_program": (),
    "replay/test_prioritized.py::test_frequencies_are_the_priorities": ("1-0.6", "32-1.0"),
    "replay/test_prioritized.py::test_state_and_batch_keep_their_structure": (),
    "replay/test_prioritized.py::test_uniform_replay_does_not_look_at_priorities": (),
    "replay/test_sequences.py::test_far_from_the_start_the_clock_still_tells_the_place": (),
    "replay/test_sequences.py::test_priorities_are_those_of_sequences": ("1",),
    "replay/test_sequences.py::test_sequences_are_those_of_a_list_of_all_rows": (
        "1-1-6-1-0-prioritized",
        "4-2-12-4-3-prioritized",
    ),
    "replay/test_sum_tree.py::test_a_leaf_without_mass_is_never_drawn": ("3",),
    "replay/test_sum_tree.py::test_a_million_masses_of_all_sizes": (),
    "replay/test_sum_tree.py::test_frequencies_are_the_masses": ("37-32",),
    "replay/test_sum_tree.py::test_neighbours_among_a_million_are_drawn_alike": (),
    # processes, and runs that are killed
    "machine/test_hosts.py::test_a_folder_that_is_not_empty_is_refused_on_both": (),
    "machine/test_hosts.py::test_a_host_that_is_killed_ends_the_others": (),
    "machine/test_hosts.py::test_a_host_that_never_comes_ends_the_others": (),
    "machine/test_hosts.py::test_all_look_before_one_writes": (),
    "machine/test_signals.py::test_a_closed_terminal_stops_a_run_after_a_checkpoint": (),
    "machine/test_signals.py::test_a_sweep_without_a_run_is_interrupted_as_any_code": ("raises",),
    "machine/test_signals.py::test_nobody_need_read_what_a_command_says": (),
    "runs/test_agents.py::test_every_algorithm": ("pqn", "rainbow", "double-q-learning"),
    "runs/test_damage.py::test_every_key_of_a_config": (),
    "runs/test_power.py::test_power_cuts": ("stopped-False",),
    "runs/test_results.py::test_an_interrupted_run_says_so": (),
    "runs/test_resume.py::test_a_crashed_sweep_goes_on_bit_for_bit": (),  # in the part with the newest JAX
    "runs/test_resume.py::test_a_full_disk_stops_no_training": (),
    "runs/test_resume.py::test_a_run_killed_at_its_end_ends_the_same": ("Run.finish",),
    "runs/test_resume.py::test_a_run_that_got_to_its_last_checkpoint_ends_from_there": (),
    "runs/test_resume.py::test_a_run_with_fast_keys_goes_on_bit_for_bit": (),
    "runs/test_resume.py::test_a_second_ctrl_c_ends_at_once": (),
    "runs/test_resume.py::test_a_summary_of_ones_own_stands": (),
    "runs/test_resume.py::test_a_watcher_that_cannot_write_is_left_out": ("on_log",),
    "runs/test_resume.py::test_a_watcher_that_ends_a_sweep_does_so_after_a_checkpoint": ("on_progress",),
    "runs/test_resume.py::test_an_ended_run_of_another_work_is_refused": ("deep",),
    "runs/test_resume.py::test_another_array_in_build_is_refused": (),
    "runs/test_resume.py::test_another_run_at_the_same_step_is_read_afresh": (),
    "runs/test_resume.py::test_checkpoint_without_a_log_point_before_it": (),
    "runs/test_resume.py::test_kill_9": (),
    "runs/test_resume.py::test_static_sweeps_take_ended_runs_from_their_folders": (),
    "runs/test_resume.py::test_two_hosts": (),
    # sweeps and loops
    "sweeps/test_evaluating.py::test_the_best_agent_is_the_one_of_the_best_evaluation": (),
    "sweeps/test_evaluating.py::test_settings_are_evaluated_as_themselves_and_the_table_has_it": (),
    "sweeps/test_evaluating.py::test_training_does_not_change": (),
    "sweeps/test_hyperparameters.py::test_static_sweeps_run_one_after_another_with_the_same_seeds": (),
    "sweeps/test_initial.py::test_a_run_keeps_a_digest_and_goes_on_with_the_same_agents_only": (),
    "sweeps/test_plan.py::test_a_plan_tells_the_bytes_of_a_transition_by_field": (),
    "sweeps/test_plan.py::test_out_of_device_memory_is_said_plainly": (),
    "sweeps/test_plan.py::test_the_estimate_is_the_compilers_own": ("frozenlake",),
    "sweeps/test_plan.py::test_the_largest_number_where_not_one_group_fits": (),
    "sweeps/test_sweep.py::test_a_seed_alone_is_the_same_bit_for_bit": (),
    "sweeps/test_sweep.py::test_a_sweep_crosses_every_boundary_of_the_clock": ("4294967296",),
    "sweeps/test_sweep.py::test_bits_do_not_depend_on_the_number_of_devices": (),  # in the part with the newest JAX
    "sweeps/test_sweep.py::test_evaluate_the_agents_of_a_sweep": (),
    "sweeps/test_sweep.py::test_jax_s_default_keys_do_not_matter": (),
    "sweeps/test_sweep.py::test_logged_schedules": (),
    "sweeps/test_sweep.py::test_order_company_and_log_points_do_not_matter": (),
    "sweeps/test_sweep.py::test_stop_on_nan": (),
    "training/test_ahead.py::test_an_environment_may_keep_a_key": (),
    "training/test_ahead.py::test_the_plain_path_has_the_same_numbers_in_a_network": (),
    "training/test_carry.py::test_a_seed_alone_is_the_seed_in_a_sweep": (),
    "training/test_loop.py::test_chunks_equal_one_run": ("dqn-1-2-5", "tabular-4-2-5"),
    "training/test_loop.py::test_compiled_program_moves_no_table": ("4",),
    "training/test_loop.py::test_step_and_env_a_policy_sees": ("4",),
    "training/test_loop.py::test_the_programs_of_a_sweep_move_no_ring": (),  # in the part with the newest JAX
    # all over
    "test_arguments.py::test_constants": (
        "deep-atoms",
        "deep-batch_size",
        "deep-capacity",
        "deep-epsilon_end",
        "deep-gamma",
        "deep-hidden",
        "deep-levels",
        "deep-loss",
        "deep-optimizer",
        "deep-rollout",
        "deep-support",
        "deep-target_unit",
        "tabular-alpha",
        "tabular-epsilon_decay",
        "tabular-initial",
        "tabular-lam",
        "tabular-policy",
        "tabular-ties",
    ),
    "test_convergence.py::test_two_algorithms_come_near": (),
    "test_vocabulary.py::test_the_vocabulary_holds": ("c51, n-step, prioritized", "pqn", "watkins's q(lambda)"),
}
"""Tests and the choices of their parameters that the gate runs, by their ids."""


def parts(node: str) -> tuple[str, str]:
    """Return the test of an id, as it is named above, and the choice of its parameters."""
    name, _, choice = node.removeprefix("tests/").partition("[")
    return name, choice.removesuffix("]")


def left_out(node: str) -> bool:
    """Return whether the gate leaves out the test with this id."""
    name, choice = parts(node)
    return name in KEPT and choice not in KEPT[name]
