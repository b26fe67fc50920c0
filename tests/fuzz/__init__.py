"""Every parser of what comes from a socket or a file, given what nobody meant to send.

`targets` names the parsers and what each may raise, `seeds` has valid examples of what they read,
`mutate` damages these. `inputs` holds what once ended a node.
"""
