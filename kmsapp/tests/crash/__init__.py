"""SIGKILL in the middle of CreateKey, ConnectCustomKeyStore and the deletion of keys, and what must be true afterwards.

`aim` kills a process when a call has come to a step; `victims` says which processes there are; `makers` are clients;
`truths` is what is checked; `campaign` puts them together. bin/crash runs it with any count, test_crash.py with a
small one.
"""
