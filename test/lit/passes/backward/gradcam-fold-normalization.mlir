// RUN: %gradcam_opt %s --gradcam-fold-normalization --split-input-file | FileCheck %s

// x * 2 - 1, then a batch norm with gamma / sqrt(var + eps) = (2, -4), mean (1, 2) and beta (0, 1):
// (x * 2 - 2) * 2 = (x - 1) / 0.25 and (x * 2 - 3) * -4 + 1 = (x - 1.625) / -0.125.
// CHECK-LABEL: func.func @main
// CHECK-SAME: %arg0: tensor<1x2x4x4xf32> {gradcam.normalization = {mean = [1.000000e+00, 1.625000e+00], std = [2.500000e-01, -1.250000e-01]}}
// CHECK-NEXT: %[[A:.*]] = "gradcam.relu"(%arg0)
// CHECK-NEXT: return %[[A]]
func.func @main(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %zero = arith.constant dense<0.0> : tensor<2xf32>
  %one = arith.constant dense<1.0> : tensor<2xf32>
  %two = arith.constant dense<2.0> : tensor<2xf32>
  %minus = arith.constant dense<-1.0> : tensor<2xf32>
  %gamma = arith.constant dense<[2.0, -8.0]> : tensor<2xf32>
  %beta = arith.constant dense<[0.0, 1.0]> : tensor<2xf32>
  %mean = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %var = arith.constant dense<[0.5, 3.5]> : tensor<2xf32>
  %a = "gradcam.batch_norm"(%x, %two, %zero, %zero, %one) {eps = 0.0 : f64} : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  %b = "gradcam.batch_norm"(%a, %one, %minus, %zero, %one) {eps = 0.0 : f64} : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  %c = "gradcam.batch_norm"(%b, %gamma, %beta, %mean, %var) {eps = 0.5 : f64} : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  %y = "gradcam.relu"(%c) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}

// -----

// Another reader of the image takes it as it is: the batch norm stays.
// CHECK-LABEL: func.func @twice(%arg0: tensor<1x1x4x4xf32>)
// CHECK: gradcam.batch_norm
func.func @twice(%x: tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32> {
  %v = arith.constant dense<1.0> : tensor<1xf32>
  %a = "gradcam.batch_norm"(%x, %v, %v, %v, %v) {eps = 0.0 : f64} : (tensor<1x1x4x4xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x1x4x4xf32>
  %y = "gradcam.add"(%a, %x) : (tensor<1x1x4x4xf32>, tensor<1x1x4x4xf32>) -> tensor<1x1x4x4xf32>
  return %y : tensor<1x1x4x4xf32>
}

// -----

// No image gives a channel that is constant by a factor of 0.
// CHECK-LABEL: func.func @constant(%arg0: tensor<1x2x4x4xf32>)
// CHECK: gradcam.batch_norm
func.func @constant(%x: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %v = arith.constant dense<1.0> : tensor<2xf32>
  %g = arith.constant dense<[1.0, 0.0]> : tensor<2xf32>
  %y = "gradcam.batch_norm"(%x, %g, %v, %v, %v) {eps = 0.0 : f64} : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}
