"""The AWS wire: signed requests in, AWS's answers out.

`handler.py` is the order of stages. `sigv4.py` proves who signed, `awsjson.py` and `query.py` are the two protocols;
these three are pure: bytes and times in, values or AWS errors out.
"""
