// RUN: gradcam-opt %s --gradcam-batch-norm-to-conv | FileCheck %s

// With gamma = (2, 4), var + eps = (1, 4) and mean = (1, 2): the diagonal is (2, 2), the bias beta - mean * 2.
// CHECK-LABEL: func.func @main
// CHECK-DAG: %[[W:.*]] = arith.constant dense<[{{\[\[\[}}2.000000e+00]], {{\[\[}}0.000000e+00]]], {{\[\[\[}}0.000000e+00]], {{\[\[}}2.000000e+00]]]]> : tensor<2x2x1x1xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[-2.000000e+00, -3.000000e+00]> : tensor<2xf32>
// CHECK-NOT: arith.constant
// CHECK: "gradcam.conv2d"(%arg0, %[[W]], %[[B]]) {{.*}} padding = [0, 0], stride = [1, 1]}
// CHECK-NOT: gradcam.batch_norm
func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %gamma = arith.constant dense<[2.0, 4.0]> : tensor<2xf32>
  %beta = arith.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %mean = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %var = arith.constant dense<[0.5, 3.5]> : tensor<2xf32>
  %y = "gradcam.batch_norm"(%x, %gamma, %beta, %mean, %var) {eps = 0.5 : f64} : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}
