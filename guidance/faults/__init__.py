"""The seeded fault campaign: faults as rows, oracles that read what was measured, and a score for every hazard.

Nothing here knows how a rule is judged: an oracle looks at arrivals, results and bytes sent, and says what must
have happened by when (docs/safety.md, `guidance faults`).
"""
