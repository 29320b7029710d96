"""The code that a model card shows: complete, and run by a test as it stands."""

#: Answers one question with transformers alone; ``NAME`` stands for the folder or hub name.
TORCH_SAMPLE = """\
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

name = "NAME"
tokenizer = AutoTokenizer.from_pretrained(name)
model = AutoModelForQuestionAnswering.from_pretrained(name).eval()

question = "¿Dónde nació Lucía Ferrer?"
context = "Lucía Ferrer nació en Cádiz en 1900 y murió en Jaén."
inputs = tokenizer(question, context, return_tensors="pt", return_offsets_mapping=True)
offsets = inputs.pop("offset_mapping")[0].tolist()
is_context = torch.tensor([part == 1 for part in inputs.sequence_ids()])
with torch.inference_mode():
    output = model(**inputs)

# The best span of at most 30 tokens that lies in the context.
scores = output.start_logits[0, :, None] + output.end_logits[0, None, :]
is_span = torch.ones_like(scores, dtype=torch.bool).triu().tril(29) & is_context[:, None] & is_context
first, last = divmod(int(scores.masked_fill(~is_span, -torch.inf).argmax()), len(scores))
print(context[offsets[first][0] : offsets[last][1]])
"""

#: The same with ONNX Runtime; ``FILE`` stands for the graph.
ONNX_SAMPLE = """\
import numpy as np
import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("onnx")
session = onnxruntime.InferenceSession("FILE")

question = "¿Dónde nació Lucía Ferrer?"
context = "Lucía Ferrer nació en Cádiz en 1900 y murió en Jaén."
inputs = tokenizer(question, context, return_tensors="np", return_offsets_mapping=True)
offsets = inputs["offset_mapping"][0]
is_context = np.array([part == 1 for part in inputs.sequence_ids()])
feed = {node.name: inputs[node.name].astype(np.int64) for node in session.get_inputs()}
start, end = session.run(["start_logits", "end_logits"], feed)

scores = start[0, :, None] + end[0, None, :]
is_span = np.tril(np.triu(np.ones_like(scores, dtype=bool)), 29) & is_context[:, None] & is_context
first, last = divmod(int(np.where(is_span, scores, -np.inf).argmax()), len(scores))
print(context[offsets[first][0] : offsets[last][1]])
"""
