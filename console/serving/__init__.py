"""bin/serve: everything that happens between the command and a server that answers, and until it has ended.

The order: options, checks that change nothing, master key, database, static files, processes, seed, screen.
Whatever stops the start is a `CannotStartError`: one sentence, exit code 2, nothing changed.
"""
