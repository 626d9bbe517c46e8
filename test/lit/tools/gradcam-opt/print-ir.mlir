// RUN: %gradcam_opt %s --canonicalize --cse --mlir-print-ir-before=canonicalize --mlir-print-ir-after=cse -o /dev/null 2>&1 | FileCheck %s --check-prefix=NAMED
// RUN: %gradcam_opt %s --canonicalize --cse --mlir-print-ir-before-all --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s --check-prefix=ALL
// RUN: %gradcam_opt %s --cse --canonicalize --mlir-print-ir-after-change -o /dev/null 2>&1 | FileCheck %s --check-prefix=CHANGE
// RUN: rm -rf %t && %gradcam_opt %s --cse --canonicalize --mlir-print-ir-tree-dir=%t/ir -o /dev/null
// RUN: FileCheck %s --check-prefix=TREE --input-file=%t/ir/01-cse.mlir
// RUN: FileCheck %s --check-prefix=TREE --input-file=%t/ir/02-canonicalize.mlir

// NAMED-NOT: IR Dump After canonicalize
// NAMED: IR Dump Before canonicalize
// NAMED: arith.addi
// NAMED-NOT: IR Dump Before cse
// NAMED: IR Dump After cse
// NAMED: func.func @f

// ALL: IR Dump Before canonicalize
// ALL: IR Dump After canonicalize
// ALL: IR Dump Before cse
// ALL: IR Dump After cse

// CHANGE: IR Dump After cse
// CHANGE-NOT: IR Dump After canonicalize

// TREE: module
// TREE: func.func @f
func.func @f(%a: i32) -> i32 {
  %0 = arith.addi %a, %a : i32
  %1 = arith.addi %a, %a : i32
  %2 = arith.muli %0, %1 : i32
  return %2 : i32
}
