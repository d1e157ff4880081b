"""Export to ONNX with external data, by torch and by onnx."""

import onnx
import torch

torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 8))
torch.onnx.export(model, (torch.ones(1, 64),), "out/exported.onnx", external_data=True, verbose=False)
weights = onnx.numpy_helper.from_array(model[0].weight.detach().numpy(), "weight")
rows, result = (
    onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 64]) for name in ("rows", "result")
)
graph = onnx.helper.make_graph(
    [onnx.helper.make_node("MatMul", ["rows", "weight"], ["result"])], "net", [rows], [result], [weights]
)
onnx.save(onnx.helper.make_model(graph), "out/saved.onnx", save_as_external_data=True, size_threshold=0)
