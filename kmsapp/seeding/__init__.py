"""Making what a seed file says, in an installation that has nothing else.

Whatever a call can make is made by that call (kmsapp.dispatch), as the root user of its account: so it is validated,
authorized and recorded like everybody's. Only ids are given. Rows that no call makes yet are written here: accounts and
their root users, and clusters.

Everything is looked for before it is made, by a name or an id that is known beforehand: what the file does not choose
is drawn, and kept by whoever starts this, before the first row is written (drawing.py). So a run that was cut short at
any line is made good by running again, and running again changes nothing.
"""

from __future__ import annotations
