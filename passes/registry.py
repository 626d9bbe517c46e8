"""The table of the project's passes and pipelines, in the order in which a model passes through them."""

from __future__ import annotations

from gradcam.passes.infra.registry import register_lazy, register_pipeline
from gradcam.passes.ir.levels import takes

#: Pipelines by name: their passes in order, each as a pipeline's text.
PIPELINES: dict[str, tuple[str, ...]] = {
    "gradcam-backward-pipeline": (
        "gradcam-fold-normalization",
        "gradcam-fold-padding",
        "gradcam-fold-batch-norm",
        "gradcam-simplify-head",
        "gradcam-derive-backward",
        "gradcam-simplify-backward",
        "gradcam-extract-masks",
    ),
    "gradcam-linalg-pipeline": (
        "gradcam-group-pixels",
        "gradcam-unfold-stem",
        "convert-gradcam-to-linalg",
        "fuse-epilogues",
        "canonicalize",
        "cse",
    ),
    "gradcam-affine-pipeline": ("convert-linalg-to-affine", "canonicalize"),
    "gradcam-schedule-pipeline": (
        "gradcam-stream-inputs",
        "gradcam-split-time-space",
        "gradcam-choose-schedule",
        "gradcam-duplicate-buffers",
        "gradcam-tile-pixels",
        "gradcam-form-engines",
        "gradcam-narrow-integers",
        "gradcam-overlap-nests",
        "gradcam-plan-memory",
        "gradcam-narrow-memories",
        "gradcam-assign-cycles",
    ),
    "gradcam-hw-pipeline": ("convert-affine-to-hw", "gradcam-add-core", "canonicalize", "cse"),
    "gradcam-sv-pipeline": (
        "lower-seq-to-sv",
        "canonicalize",
        "cse",
        "hw.module(hw-legalize-modules,prettify-verilog,hw-cleanup)",
    ),
}

#: Name, room, module, class and level of every pass: that of the modules that it takes, "" for any.
PASSES = (
    ("gradcam-convert-onnx-to-torch", "torch", "convert_onnx_to_torch", "ConvertOnnxToTorch", "torch"),
    ("gradcam-recognize-activations", "torch", "recognize_activations", "RecognizeActivations", "torch"),
    ("convert-torch-to-gradcam", "torch", "convert_torch_to_gradcam", "ConvertTorchToGradcam", "torch"),
    ("gradcam-fold-normalization", "backward", "fold_normalization", "FoldNormalization", "gradcam"),
    ("gradcam-fold-padding", "backward", "fold_padding", "FoldPadding", "gradcam"),
    ("gradcam-fold-batch-norm", "backward", "fold_batch_norm", "FoldBatchNorm", "gradcam"),
    ("gradcam-simplify-head", "backward", "simplify_head", "SimplifyHead", "gradcam"),
    ("gradcam-derive-backward", "backward", "derive_backward", "DeriveBackward", "gradcam"),
    ("gradcam-simplify-backward", "backward", "simplify_backward", "SimplifyBackward", "gradcam"),
    ("gradcam-extract-masks", "backward", "extract_masks", "ExtractMasks", "gradcam"),
    ("gradcam-calibrate", "quantize", "calibrate", "Calibrate", "gradcam"),
    ("gradcam-quantize", "quantize", "quantize", "Quantize", "gradcam"),
    ("gradcam-set-platform", "linalg", "set_platform", "SetPlatform", ""),
    ("gradcam-group-pixels", "linalg", "group_pixels", "GroupPixels", "quantized"),
    ("gradcam-unfold-stem", "linalg", "unfold_stem", "UnfoldStem", "quantized"),
    ("convert-gradcam-to-linalg", "linalg", "convert_gradcam_to_linalg", "ConvertGradcamToLinalg", "quantized"),
    ("fuse-epilogues", "linalg", "fuse_epilogues", "FuseEpilogues", "linalg"),
    ("convert-linalg-to-affine", "affine", "convert_linalg_to_affine", "ConvertLinalgToAffine", "linalg"),
    ("gradcam-stream-inputs", "schedule", "stream_inputs", "StreamInputs", "affine"),
    ("gradcam-split-time-space", "schedule", "split_time_space", "SplitTimeSpace", "affine"),
    ("gradcam-choose-schedule", "schedule", "choose_schedule", "ChooseSchedule", "affine"),
    ("gradcam-duplicate-buffers", "schedule", "duplicate_buffers", "DuplicateBuffers", "affine"),
    ("gradcam-tile-pixels", "schedule", "tile_pixels", "TilePixels", "affine"),
    ("gradcam-overlap-nests", "schedule", "overlap_nests", "OverlapNests", "affine"),
    ("gradcam-plan-memory", "schedule", "plan_memory", "PlanMemory", "affine"),
    ("gradcam-stream-weights", "schedule", "stream_weights", "StreamWeights", "affine"),
    ("gradcam-size-ring", "schedule", "size_ring", "SizeRing", "affine"),
    ("gradcam-narrow-memories", "schedule", "narrow_memories", "NarrowMemories", "affine"),
    ("gradcam-limit-memory", "schedule", "limit_memory", "LimitMemory", "affine"),
    ("gradcam-target-clock", "schedule", "target_clock", "TargetClock", ""),
    ("gradcam-form-engines", "schedule", "form_engines", "FormEngines", "affine"),
    ("gradcam-narrow-integers", "schedule", "narrow_integers", "NarrowIntegers", "affine"),
    ("gradcam-assign-cycles", "schedule", "assign_cycles", "AssignCycles", "affine"),
    ("convert-affine-to-hw", "hw", "convert_affine_to_hw", "ConvertAffineToHw", "affine"),
    ("gradcam-add-core", "hw", "add_core", "AddCore", ""),
    ("gradcam-prefix-modules", "hw", "prefix_modules", "PrefixModules", ""),
)

for _name, _room, _module, _class, _level in PASSES:
    register_lazy(_name, f"gradcam.passes.{_room}.{_module}", _class, takes(_level) if _level else None)
for _name, _passes in PIPELINES.items():
    register_pipeline(_name, _passes)
