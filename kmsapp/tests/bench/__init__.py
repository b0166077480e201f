"""bin/bench: how fast a server is, beside a calibration line and beside moto_server, in one run on one machine.

Requests are signed before the clock starts. `driver` sends them: closed loop (the next call begins when the last one
ended) for rates and for the latency that one quiet client sees, open loop (a fixed schedule; latency counts from the
scheduled moment) for what happens under a load that does not wait. Other work on the machine moves every figure, so
everything is measured in rounds, one after another, and ratios within a round say more than figures.
"""
