"""The simulated team: a small world of prompts and answers, and raters whose truth is known.

Nothing here is feedback from people. The figures of `truth` are for reports, never for the gate.
"""
