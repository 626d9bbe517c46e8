"""The pass infrastructure: what a pass is, pipelines, their options and instrumentation; knows nothing of Grad-CAM."""
