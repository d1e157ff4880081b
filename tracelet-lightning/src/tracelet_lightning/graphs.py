"""Batches of graphs, as PyTorch Geometric has them: a sample is a graph, not a node."""

from __future__ import annotations

import sys
from typing import Any

import attrs

__all__ = ["GraphParts", "graph_parts"]


@attrs.frozen(eq=False)
class GraphParts:
    """The first graphs of a batch."""

    #: How many graphs the whole batch has.
    length: int
    #: A list of values, one for each graph that was taken, by the name of the attribute.
    parts: dict[str, list[Any]]
    #: How many nodes each graph of the whole batch has.
    nodes: tuple[int, ...]


def graph_parts(batch: Any, count: int) -> GraphParts | None:
    """Return the first ``count`` graphs, or None where ``batch`` is none of PyTorch Geometric's."""
    library = sys.modules.get("torch_geometric.data")
    if library is None or not isinstance(batch, library.Data):
        return None
    if isinstance(batch, library.Batch):
        length = int(batch.num_graphs)
        graphs = [batch.get_example(number) for number in range(min(count, length))]
        nodes = tuple(batch.ptr.diff().tolist())
    else:
        length, graphs, nodes = 1, [batch], (int(batch.num_nodes),)
    keys = [key for key in graphs[0].to_dict() if all(key in graph for graph in graphs)]
    parts = {key: [graph[key] for graph in graphs] for key in keys}
    return GraphParts(
        length, {**parts, "nodes": [one.num_nodes for one in graphs], "edges": [one.num_edges for one in graphs]}, nodes
    )
