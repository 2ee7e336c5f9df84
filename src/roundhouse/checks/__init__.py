"""Validation of a round's feedback: a Great Expectations suite built in code.

frame   canonical rows become one table of what the expectations look at
suite   the expectations, each with the name that a person reads and accepts
stage   the stage of a round: exclusions, report, figures, or a block

Row checks exclude single rows; batch checks judge the newest partition as a whole. Nothing is ever
changed in a partition.
"""
