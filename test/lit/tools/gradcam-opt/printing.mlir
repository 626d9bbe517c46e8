// RUN: %gradcam_opt %s --mlir-elide-elementsattrs-if-larger=2 | FileCheck %s --check-prefix=ELIDE
// RUN: %gradcam_opt %s --mlir-print-debuginfo | FileCheck %s --check-prefix=DEBUG
// RUN: %gradcam_opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC
// RUN: %gradcam_opt %s --mlir-timing --cse -o /dev/null 2>&1 | FileCheck %s --check-prefix=TIMING

// ELIDE: dense_resource<__elided__>
// DEBUG: loc("{{.*}}printing.mlir":12:1)
// GENERIC: "arith.constant"() <{value = dense<[1, 2, 3]> : tensor<3xi32>}>
// TIMING: Execution time report
// TIMING: ----Wall Time----  ----Name----
// TIMING: ({{ *[0-9.]+}}%)  cse
func.func @f() -> tensor<3xi32> {
  %0 = arith.constant dense<[1, 2, 3]> : tensor<3xi32>
  return %0 : tensor<3xi32>
}
