"""The pass infrastructure, independent of Grad-CAM: passes, pipelines, options, instrumentation."""
