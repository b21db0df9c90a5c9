"""The gateway: HTTP for today's clients, in front of any server of TensorFlow Serving's protocol.

It keeps nothing that a text depends on, so any number of gateways may stand before any number of
servers.
"""
