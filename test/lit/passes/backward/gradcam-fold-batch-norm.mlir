// RUN: %gradcam_opt %s --gradcam-fold-batch-norm --split-input-file --mlir-print-debuginfo | FileCheck %s
// RUN: %gradcam_opt %s --gradcam-fold-batch-norm --split-input-file --mlir-print-debuginfo | FileCheck %s --check-prefix=WHERE

// With gamma = (2, 4), var + eps = (1, 4) and mean = (1, 2): the weight is scaled by (2, 2), the bias is (0 - mean) * 2 + beta.
// CHECK-LABEL: func.func @main
// CHECK-DAG: %[[W:.*]] = arith.constant dense<[{{\[\[\[}}2.000000e+00]]], {{\[\[\[}}6.000000e+00]]]]> : tensor<2x1x1x1xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<[-2.000000e+00, -3.000000e+00]> : tensor<2xf32>
// CHECK-NOT: arith.constant
// CHECK: "gradcam.conv2d"(%arg0, %[[W]], %[[B]]) {{.*}} stride = [2, 1]}
// CHECK-NOT: gradcam.batch_norm
// WHERE: #loc{{.*}} = loc("layer1.conv")
func.func @main(%x: tensor<1x1x4x4xf32>) -> tensor<1x2x2x4xf32> {
  %w = arith.constant dense<[[[[1.0]]], [[[3.0]]]]> : tensor<2x1x1x1xf32>
  %gamma = arith.constant dense<[2.0, 4.0]> : tensor<2xf32>
  %beta = arith.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %mean = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %var = arith.constant dense<[0.5, 3.5]> : tensor<2xf32>
  %c = "gradcam.conv2d"(%x, %w) {stride = [2, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x1x4x4xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x2x4xf32> loc("layer1.conv")
  %y = "gradcam.batch_norm"(%c, %gamma, %beta, %mean, %var) {eps = 0.5 : f64} : (tensor<1x2x2x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x2x4xf32> loc("layer1.bn")
  return %y : tensor<1x2x2x4xf32>
}

// -----

// A target between the two reads the convolution: the batch norm stays.
// CHECK-LABEL: func.func @target
// CHECK: gradcam.conv2d
// CHECK: gradcam.target
// CHECK: gradcam.batch_norm
func.func @target(%x: tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32> {
  %w = arith.constant dense<1.0> : tensor<1x1x1x1xf32>
  %v = arith.constant dense<1.0> : tensor<1xf32>
  %c = "gradcam.conv2d"(%x, %w) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x1x4x4xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x4x4xf32>
  %a = "gradcam.target"(%c) {path = "conv"} : (tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  %y = "gradcam.batch_norm"(%a, %v, %v, %v, %v) {eps = 0.5 : f64} : (tensor<1x1x4x4xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x4x4xf32>
  return %y : tensor<1x1x4x4xf32>
}

// -----

// The sum of three linear layers of one vector, of which one has no bias, halved: (1 + 2 + 4) / 2, and (1 + 4) / 2.
// CHECK-LABEL: func.func @heads
// CHECK-DAG: %[[W:.*]] = arith.constant dense<3.500000e+00> : tensor<1x2xf32>
// CHECK-DAG: %[[B:.*]] = arith.constant dense<2.500000e+00> : tensor<1xf32>
// CHECK-NOT: arith.constant
// CHECK: %[[Y:.*]] = "gradcam.linear"(%arg0, %[[W]], %[[B]])
// CHECK-NEXT: return %[[Y]]
func.func @heads(%x: tensor<1x2xf32>) -> tensor<1x1xf32> {
  %u = arith.constant dense<1.0> : tensor<1x2xf32>
  %v = arith.constant dense<2.0> : tensor<1x2xf32>
  %w = arith.constant dense<4.0> : tensor<1x2xf32>
  %b = arith.constant dense<1.0> : tensor<1xf32>
  %c = arith.constant dense<4.0> : tensor<1xf32>
  %half = arith.constant dense<0.5> : tensor<1xf32>
  %zero = arith.constant dense<0.0> : tensor<1xf32>
  %one = arith.constant dense<1.0> : tensor<1xf32>
  %0 = "gradcam.linear"(%x, %u, %b) {operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1xf32>) -> tensor<1x1xf32>
  %1 = "gradcam.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x1xf32>
  %2 = "gradcam.add"(%0, %1) : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
  %3 = "gradcam.linear"(%x, %w, %c) {operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1xf32>) -> tensor<1x1xf32>
  %4 = "gradcam.add"(%2, %3) : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
  %5 = "gradcam.batch_norm"(%4, %half, %zero, %zero, %one) {eps = 0.0 : f64} : (tensor<1x1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1xf32>
  return %5 : tensor<1x1xf32>
}

// -----

// Layers of two vectors, and a layer that something else reads, stay.
// CHECK-LABEL: func.func @others
// CHECK-COUNT-2: gradcam.linear
// CHECK: gradcam.add
// CHECK: gradcam.linear
// CHECK: gradcam.add
func.func @others(%x: tensor<1x2xf32>, %y: tensor<1x2xf32>) -> (tensor<1x1xf32>, tensor<1x1xf32>) {
  %u = arith.constant dense<1.0> : tensor<1x2xf32>
  %0 = "gradcam.linear"(%x, %u) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x1xf32>
  %1 = "gradcam.linear"(%y, %u) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x1xf32>
  %2 = "gradcam.add"(%0, %1) : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
  %3 = "gradcam.linear"(%x, %u) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x1xf32>
  %4 = "gradcam.add"(%3, %1) : (tensor<1x1xf32>, tensor<1x1xf32>) -> tensor<1x1xf32>
  return %2, %4 : tensor<1x1xf32>, tensor<1x1xf32>
}
