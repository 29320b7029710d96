"""The recipes against each other on the same teacher, student, data and budget: ``python -m tests.benchmarks.recipes``.

Every arm is run with its own best learning rate and several seeds, once at equal steps and once at equal time, and is
scored on questions that nothing was chosen by. What was finished is kept: called again, it goes on.
"""
