"""The HSM process: the one owner of one PKCS#11 token, behind a Unix socket.

Nothing here imports Django, and only the package `token` imports pkcs11. Start it with
`python -m hsmapp.device <hsm id>`.
"""
