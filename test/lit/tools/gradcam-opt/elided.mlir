// Printed IR lacks large constants and says so; it is refused when it comes back, since passes would take them for zeros.

// RUN: %gradcam_opt %s --cse --mlir-print-ir-after-all -o %t.mlir 2> %t.printed.mlir
// RUN: FileCheck %s --check-prefix=PRINTED < %t.printed.mlir
// RUN: not %gradcam_opt %t.printed.mlir -o %t.never.mlir 2>&1 | FileCheck %s --check-prefix=REFUSED
// RUN: not test -e %t.never.mlir
// RUN: FileCheck %s --check-prefix=WHOLE < %t.mlir
// RUN: %gradcam_opt %s --cse --mlir-print-ir-after-all --mlir-elide-elementsattrs-if-larger=65 -o /dev/null 2>&1 | FileCheck %s --check-prefix=WHOLE
// RUN: %gradcam_opt %s --mlir-elide-elementsattrs-if-larger=64 | FileCheck %s --check-prefix=PRINTED

// PRINTED: {{^}}// Constants of more than 64 elements are left out: for reading, no tool takes this.{{$}}
// PRINTED: arith.constant dense_resource<__elided__> : tensor<65xi8>
// PRINTED: arith.constant dense<[1, {{.*}}, 2]> : tensor<64xi8>
// REFUSED: {{^.*}}.printed.mlir:5:27: error: the value of this constant was left out when the file was written; write bytecode, which keeps it{{$}}
// WHOLE-NOT: left out
// WHOLE: arith.constant dense<[1, {{.*}}, 2]> : tensor<65xi8>
func.func @f() -> (tensor<65xi8>, tensor<64xi8>) {
  %0 = arith.constant dense<"0x0101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010102"> : tensor<65xi8>
  %1 = arith.constant dense<"0x01010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010101010102"> : tensor<64xi8>
  return %0, %1 : tensor<65xi8>, tensor<64xi8>
}
