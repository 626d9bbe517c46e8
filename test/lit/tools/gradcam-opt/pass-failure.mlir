// A failing pass: one line at the op, the pass named, output untouched.
// RUN: echo kept > %t.out
// RUN: not %gradcam_opt --load-pass-plugin=%S/Inputs/test_passes.py %s --test-fail -o %t.out 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=KEPT --input-file=%t.out
// RUN: not %gradcam_opt --load-pass-plugin=%S/Inputs/test_passes.py %s --test-fail=located=false 2>&1 | FileCheck %s --check-prefix=NOWHERE
// RUN: not %gradcam_opt --load-pass-plugin=%S/Inputs/test_passes.py %s --test-break --cse 2>&1 | FileCheck %s --check-prefix=BROKEN
// RUN: %gradcam_opt --load-pass-plugin=%S/Inputs/test_passes.py %s --test-break --verify-each=0 2>&1 | FileCheck %s --check-prefix=UNVERIFIED
// RUN: not %gradcam_opt %s --pass-pipeline='builtin.module(transform-interpreter{entry-point=none})' 2>&1 | FileCheck %s --check-prefix=UPSTREAM

// CHECK: {{^}}{{.*}}pass-failure.mlir:18:1: error: does not like this [pass 'test-fail']{{$}}
// CHECK-NOT: Traceback
// KEPT: kept
// NOWHERE: {{^}}{{.*}}pass-failure.mlir: error: likes nothing [pass 'test-fail']{{$}}
// BROKEN: {{^}}{{.*}}pass-failure.mlir:18:1: error: 'func.func' op entry block must have 0 arguments to match function signature [pass 'test-break']{{$}}
// UNVERIFIED: "func.func"
// UPSTREAM: {{^}}{{.*}}pass-failure.mlir: error: could not find a nested named sequence with name: none [pass 'transform-interpreter']
// UPSTREAM-NOT: error
func.func @f(%a: i32) -> i32 {
  return %a : i32
}
