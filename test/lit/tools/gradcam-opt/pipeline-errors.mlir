// Mistakes in a pipeline: one line with the column, exit code 1, no traceback.
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(cse,gradcam-quantise)' 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(cse' 2>&1 | FileCheck %s --check-prefix=BRACKET
// RUN: not %gradcam_opt %s --load-pass-plugin=%S/Inputs/test_passes.py --pass-pipeline='builtin.module(test-rename{suffix=a cuont=3})' 2>&1 | FileCheck %s --check-prefix=OPTION
// RUN: not %gradcam_opt %s --load-pass-plugin=%S/Inputs/test_passes.py --pass-pipeline='test-rename{suffix=a count=x}' 2>&1 | FileCheck %s --check-prefix=VALUE
// RUN: not %gradcam_opt %s --load-pass-plugin=%S/Inputs/test_passes.py --pass-pipeline='func.func(test-rename)' 2>&1 | FileCheck %s --check-prefix=NEST
// RUN: not %gradcam_opt %s --load-pass-plugin=%S/Inputs/test_passes.py --pass-pipeline='test-cross,lower-affine' 2>&1 | FileCheck %s --check-prefix=SIDE
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(canonicalize{max-iterations=x})' 2>&1 | FileCheck %s --check-prefix=UPSTREAM
// RUN: not %gradcam_opt %s --canonicalise 2>&1 | FileCheck %s --check-prefix=FLAG
// RUN: not %gradcam_opt %s --cse --pass-pipeline=cse 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not %gradcam_opt %s --cse --mlir-print-ir-after=cs 2>&1 | FileCheck %s --check-prefix=PRINT
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(cse,gradcam-limit-memory)' 2>&1 | FileCheck %s --check-prefix=NEEDS

// UNKNOWN: {{^}}<pass-pipeline>:1:20: error: unknown pass 'gradcam-quantise'; did you mean 'gradcam-quantize'?{{$}}
// BRACKET: {{^}}<pass-pipeline>:1:15: error: '(' is never closed{{$}}
// OPTION: {{^}}<pass-pipeline>:1:37: error: pass 'test-rename' has no option 'cuont'; did you mean 'count'?{{$}}
// VALUE: {{^}}<pass-pipeline>:1:22: error: option 'count' of pass 'test-rename' takes an integer, got 'x'{{$}}
// UPSTREAM: {{^}}<pass-pipeline>:1:16: error: pass 'canonicalize': option 'max-iterations': 'x' value invalid for long argument!{{$}}
// UPSTREAM-NOT: option
// NEST: {{^}}<pass-pipeline>:1:11: error: pass 'test-rename' runs on a whole module, not inside 'func.func'{{$}}
// SIDE: {{^}}<pass-pipeline>:1:12: error: pass 'lower-affine' runs on mlir modules, here the module is circt (since 'test-cross'){{$}}
// FLAG: {{^}}gradcam-opt: error: unknown option or pass '--canonicalise'; did you mean '--canonicalize'?{{$}}
// BOTH: {{^}}gradcam-opt: error: give --pass-pipeline or passes as flags (--cse), not both{{$}}
// PRINT: {{^}}gradcam-opt: error: no pass 'cs' in the pipeline; did you mean 'cse'?{{$}}
// NEEDS: {{^}}<pass-pipeline>:1:20: error: pass 'gradcam-limit-memory' needs the option 'bytes' (an integer){{$}}
func.func private @f()
