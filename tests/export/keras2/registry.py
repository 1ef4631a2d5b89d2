"""Register the functions that build models of several layers."""

from collections import OrderedDict

GRAPHS = OrderedDict()
"""Name of each model, with its inputs and the function that builds it."""


def graph(*inputs):
    """Register a function that builds a model. The first line of its docstring is its row in the table."""

    def registered(function):
        GRAPHS[function.__name__.replace("_", "-")] = (inputs, function)
        return function

    return registered
