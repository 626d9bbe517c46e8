// Passes as flags run in the order given; stdin is the default input; function passes are nested as mlir-opt does.
// RUN: %gradcam_opt --cse --canonicalize < %s | FileCheck %s
// RUN: %gradcam_opt -canonicalize --affine-loop-tile="tile-size=4" %s --dump-pass-pipeline -o /dev/null 2>&1 | FileCheck %s --check-prefix=DUMP
// RUN: %gradcam_opt %s --one-shot-bufferize -o=%t && FileCheck %s --input-file=%t --check-prefix=OUT

// OUT: func.func @f
// CHECK-LABEL: func.func @f
// CHECK-NEXT: arith.addi
// CHECK-NEXT: arith.muli
// CHECK-NEXT: return
// DUMP: builtin.module(canonicalize,func.func(affine-loop-tile{tile-size=4}))
func.func @f(%a: i32) -> i32 {
  %0 = arith.addi %a, %a : i32
  %1 = arith.addi %a, %a : i32
  %2 = arith.muli %0, %1 : i32
  return %2 : i32
}
