"""A thin editor over an ONNX graph: find by constant inputs, rewire, insert, tidy.

Knows nothing about transformers; the passes in `fusions` and `precision` are written with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"


class Graph:
    """Edits one ModelProto in place; call `finish` at the end.

    Attributes:
        model: the model being edited.
        nodes: its nodes; order is restored by `finish`.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = list(model.graph.node)
        self._constants: dict[str, onnx.TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}
        self._names = set(self._constants) | {name for node in self.nodes for name in node.output}
        self._inline_constants()
        self._shapes = {info.name: _dimensions(info) for info in (*model.graph.value_info, *model.graph.output)}
        self._shapes |= {info.name: _dimensions(info) for info in model.graph.input}

    def of_type(self, *types: str) -> Iterator[onnx.NodeProto]:
        """Nodes of the given operator types, over a copy of the list, so that edits are safe."""
        return (node for node in list(self.nodes) if node.op_type in types)

    def constant(self, name: str) -> NDArray[Any] | None:
        """The value of a constant, None when `name` is computed."""
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def shape(self, name: str) -> tuple[int | str, ...] | None:
        """The known shape with symbolic names for dynamic dimensions; None when it is not known."""
        if name in self._constants:
            return tuple(self._constants[name].dims)
        return self._shapes.get(name)

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that computes `name`."""
        return next((node for node in self.nodes if name in node.output), None)

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """Nodes that read `name`."""
        return [node for node in self.nodes if name in node.input]

    def is_output(self, name: str) -> bool:
        """Whether `name` is an output of the whole graph."""
        return any(output.name == name for output in self.model.graph.output)

    def unique(self, name: str) -> str:
        """A name that is not taken yet, like `name`."""
        chosen, number = name, 1
        while chosen in self._names:
            chosen, number = f"{name}_{number}", number + 1
        self._names.add(chosen)
        return chosen

    def add_constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant; returns the name it got."""
        chosen = self.unique(name)
        self._constants[chosen] = numpy_helper.from_array(np.ascontiguousarray(value), chosen)
        return chosen

    def add(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        domain: str = "",
        **attributes: Any,
    ) -> onnx.NodeProto:
        """Add a node; `outputs` are used as they are (make them with `unique` where they are new)."""
        name = self.unique(f"{kind}_{outputs[0]}")
        node = helper.make_node(kind, list(inputs), list(outputs), name=name, domain=domain, **attributes)
        self.nodes.append(node)
        return node

    def remove(self, node: onnx.NodeProto) -> None:
        """Take a node out; its outputs must be produced by something else or unused by the time of `finish`."""
        self.nodes = [other for other in self.nodes if other is not node]

    def rewire(self, old: str, new: str) -> None:
        """Let every consumer of `old` read `new`."""
        for node in self.nodes:
            for index, name in enumerate(node.input):
                if name == old:
                    node.input[index] = new

    def finish(self) -> onnx.ModelProto:
        """Drop what nothing reads, restore a valid order, and write everything back into the model.

        Raises:
            ValueError: the edits left a cycle or a missing producer.
        """
        live = self._live()
        ordered = self._ordered([node for node in self.nodes if id(node) in live])
        used = {name for node in ordered for name in node.input}
        graph = self.model.graph
        del graph.node[:]
        graph.node.extend(ordered)
        kept = [tensor for name, tensor in self._constants.items() if name in used or self.is_output(name)]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        known = {name for node in ordered for name in node.output}
        infos = [info for info in graph.value_info if info.name in known]
        del graph.value_info[:]
        graph.value_info.extend(infos)
        domains = {node.domain for node in ordered}
        present = {opset.domain for opset in self.model.opset_import}
        self.model.opset_import.extend(helper.make_opsetid(domain, 1) for domain in sorted(domains - present) if domain)
        return self.model

    def _inline_constants(self) -> None:
        for node in self.of_type("Constant"):
            value = next((item.t for item in node.attribute if item.name == "value"), None)
            if value is not None:
                tensor = onnx.TensorProto()
                tensor.CopyFrom(value)
                tensor.name = node.output[0]
                self._constants[node.output[0]] = tensor
                self.remove(node)

    def _live(self) -> set[int]:
        producers = {name: node for node in self.nodes for name in node.output}
        waiting = [output.name for output in self.model.graph.output]
        live: set[int] = set()
        while waiting:
            node = producers.get(waiting.pop())
            if node is not None and id(node) not in live:
                live.add(id(node))
                waiting += [name for name in node.input if name]
        return live

    def _ordered(self, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
        known = set(self._constants) | {info.name for info in self.model.graph.input} | {""}
        ordered: list[onnx.NodeProto] = []
        waiting = nodes
        while waiting:
            later = []
            for node in waiting:
                if known.issuperset(node.input):
                    ordered.append(node)
                    known.update(node.output)
                else:
                    later.append(node)
            if len(later) == len(waiting):
                raise ValueError(f"no producer for the inputs of {later[0].name}: {list(later[0].input)}")
            waiting = later
        return ordered


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """The value of a node's attribute, or `default`."""
    found = next((item for item in node.attribute if item.name == name), None)
    return default if found is None else helper.get_attribute_value(found)


def _dimensions(info: onnx.ValueInfoProto) -> tuple[int | str, ...] | None:
    if not info.type.tensor_type.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in info.type.tensor_type.shape.dim
    )
