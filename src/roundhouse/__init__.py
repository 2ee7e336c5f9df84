"""Recurring RLHF rounds: from raters' feedback to a released, or held, model."""
