"""How nodes talk: messages, publisher and subscriber, acknowledgements, metrics."""
