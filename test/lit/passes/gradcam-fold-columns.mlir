// RUN: gradcam-opt %s --gradcam-fold-columns=pe=16x16 | filecheck %s
// RUN: gradcam-opt %s --gradcam-fold-columns=pe=4x4 | filecheck %s --check-prefix=NARROW

// CHECK-LABEL: func.func @stem
// CHECK: "gradcam.conv2d"
// CHECK-SAME: dilation = [1, 1]
// CHECK-SAME: padding = [0, 1], stride = [1, 2]
// CHECK-SAME: -> tensor<1x9x8x4x!quant.uniform<i8:f32, 5.000000e-01>>
// CHECK: "gradcam.conv2d"
// CHECK-SAME: padding = [1, 0], stride = [1, 1]
// CHECK-SAME: tensor<4x9x3x1x!quant.uniform
// CHECK-SAME: -> tensor<1x4x8x4x!quant.uniform<i8:f32, 2.500000e-01>>

// Nine folded channels do not fit four lanes.
// NARROW-LABEL: func.func @stem
// NARROW: "gradcam.conv2d"
// NARROW-SAME: tensor<4x3x3x3x!quant.uniform
// NARROW-NOT: "gradcam.conv2d"
// NARROW-LABEL: func.func @pointwise
func.func @stem(%x: tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x4x8x4x!quant.uniform<i8:f32, 0.25>> {
  %c = arith.constant dense<3> : tensor<4x3x3x3xi8>
  %w = "quant.scast"(%c) : (tensor<4x3x3x3xi8>) -> tensor<4x3x3x3x!quant.uniform<i8:f32:0, {0.1, 0.2, 0.3, 0.4}>>
  %y = "gradcam.conv2d"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>, stride = [1, 2], padding = [1, 1], dilation = [1, 1], groups = 1 : i64} : (tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>, tensor<4x3x3x3x!quant.uniform<i8:f32:0, {0.1, 0.2, 0.3, 0.4}>>) -> tensor<1x4x8x4x!quant.uniform<i8:f32, 0.25>>
  return %y : tensor<1x4x8x4x!quant.uniform<i8:f32, 0.25>>
}

// A kernel of one column has nothing to fold.
// CHECK-LABEL: func.func @pointwise
// CHECK: "gradcam.conv2d"
// CHECK-NOT: "gradcam.conv2d"
func.func @pointwise(%x: tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>> {
  %c = arith.constant dense<3> : tensor<4x3x1x1xi8>
  %w = "quant.scast"(%c) : (tensor<4x3x1x1xi8>) -> tensor<4x3x1x1x!quant.uniform<i8:f32:0, {0.1, 0.2, 0.3, 0.4}>>
  %y = "gradcam.conv2d"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>, stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64} : (tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>, tensor<4x3x1x1x!quant.uniform<i8:f32:0, {0.1, 0.2, 0.3, 0.4}>>) -> tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>>
  return %y : tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>>
}
