"""Export: a checkpoint to ONNX files that run without torch, held to what torch gives; `run.export` is all of it."""
