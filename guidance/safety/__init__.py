"""Judging: facts against a table of rules, alarms, phases and stop requests. Pure, deterministic."""
