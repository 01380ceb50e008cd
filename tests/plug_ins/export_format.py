"""An export format in one file: the names of a graph's inputs as a text."""

from weit_rl.deploy.registry import ExportFormat


def write(graph):
    """Return the names of all inputs."""
    return " ".join(graph.inputs).encode()


def step(data, threads):
    """Return a function that ignores its inputs and returns their names."""
    return lambda arrays: {"names": data.decode().split()}


MEMBER = ExportFormat(".names", write, step)
