"""Telling: what is drawn and said, made from judged facts and lane results."""
