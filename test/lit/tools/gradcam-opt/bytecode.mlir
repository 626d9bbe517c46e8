// RUN: %gradcam_opt %s --emit-bytecode -o %t.mlirbc
// RUN: %gradcam_opt %t.mlirbc | FileCheck %s
// RUN: %gradcam_opt < %t.mlirbc | FileCheck %s

// CHECK: "gradcam.relu"(%{{.*}}) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
func.func @f(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %y = "gradcam.relu"(%x) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}
