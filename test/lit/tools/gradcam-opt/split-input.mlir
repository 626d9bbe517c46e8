// Each part alone, in a context of its own: the same symbol twice is no clash. Line numbers stay those of the file.
// RUN: %gradcam_opt %s --split-input-file --cse | FileCheck %s
// RUN: not %gradcam_opt %s --cse 2>&1 | FileCheck %s --check-prefix=WHOLE
// RUN: not %gradcam_opt %s --load-pass-plugin=%S/Inputs/test_passes.py --split-input-file --test-fail 2>&1 | FileCheck %s --check-prefix=LINES
// RUN: not %gradcam_opt %s --split-input-file --emit-bytecode 2>&1 | FileCheck %s --check-prefix=BYTECODE

// BYTECODE: gradcam-opt: error: --emit-bytecode writes one module, --split-input-file found several
// CHECK: func.func private @f()
// CHECK: // -----
// CHECK: func.func private @f(i32)
// WHOLE: split-input.mlir:19:1: error: redefinition of symbol named 'f'
// LINES: split-input.mlir:15:1: error: does not like this [pass 'test-fail']
// LINES: split-input.mlir:19:1: error: does not like this [pass 'test-fail']

func.func private @f()

// -----

func.func private @f(i32)
