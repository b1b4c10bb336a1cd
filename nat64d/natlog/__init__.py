"""The log of sessions, mappings and blocks of ports, [log] sessions: what becomes of the entries that the translator
has written (translator/session/log.py).

`entries` are what they say, and a line of text, `shortage` the same of what there was not enough of; a `place` takes
them: `lines` writes lines to a file or to the daemon's log, `collector` sends them as `ipfix` has them; `reader`
takes entries out of the translator's ring and hands them on.
"""
