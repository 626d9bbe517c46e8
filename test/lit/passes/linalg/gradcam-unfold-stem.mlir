// RUN: %gradcam_opt %s --gradcam-unfold-stem --mlir-print-debuginfo | FileCheck %s
// RUN: %gradcam_opt %s --gradcam-set-platform=pe=4x4 --gradcam-unfold-stem | FileCheck %s --check-prefix=NARROW
// RUN: %gradcam_opt %s --gradcam-set-platform=pe=32x32 --gradcam-unfold-stem | FileCheck %s --check-prefix=DENSE

// Four columns of the kernel go into the channels, two are left: the eighth column has zero weights.
// CHECK-LABEL: func.func @stem
// CHECK: "gradcam.unfold2d"
// CHECK-SAME: dilation = [1, 1], high = [0, 3], kernel = [1, 4], low = [0, 3], stride = [1, 2]
// CHECK-SAME: -> tensor<1x16x16x10x!quant.uniform<i8:f32, 5.000000e-01>>
// CHECK: "gradcam.conv2d"
// CHECK-SAME: dilation = [1, 2]
// CHECK-SAME: padding = [3, 0], stride = [2, 1]
// CHECK-SAME: tensor<20x16x7x2x!quant.uniform<i8:f32:0, {1.000000e-01,
// CHECK-SAME: -> tensor<1x20x8x8x!quant.uniform<i8:f32, 2.500000e-01>>

// 147 values without a gap are five words of 32 lanes: four columns side by side, then rows of seven, then seven rows.
// DENSE-LABEL: func.func @stem
// DENSE: "gradcam.unfold2d"
// DENSE-SAME: dilation = [1, 1], high = [0, 3], kernel = [1, 4], low = [0, 3], stride = [1, 2], taken = 3
// DENSE-SAME: -> tensor<1x12x16x10x!quant.uniform<i8:f32, 5.000000e-01>>
// DENSE: "gradcam.unfold2d"
// DENSE-SAME: dilation = [1, 2], high = [0, 0], kernel = [1, 2], low = [0, 0], stride = [1, 1], taken = 12
// DENSE-SAME: -> tensor<1x24x16x8x!quant.uniform<i8:f32, 5.000000e-01>>
// DENSE: "gradcam.unfold2d"
// DENSE-SAME: dilation = [1, 1], high = [2, 0], kernel = [7, 1], low = [3, 0], stride = [2, 1], taken = 21
// DENSE-SAME: -> tensor<1x147x8x8x!quant.uniform<i8:f32, 5.000000e-01>>
// DENSE: "gradcam.conv2d"
// DENSE-SAME: padding = [0, 0], stride = [1, 1]
// DENSE-SAME: tensor<20x147x1x1x!quant.uniform<i8:f32:0, {1.000000e-01,
// DENSE-SAME: -> tensor<1x20x8x8x!quant.uniform<i8:f32, 2.500000e-01>>

// Two taps of four channels do not fit four lanes.
// NARROW-NOT: unfold2d
func.func @stem(%x: tensor<1x3x16x16x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x20x8x8x!quant.uniform<i8:f32, 0.25>> {
  %c = arith.constant dense<3> : tensor<20x3x7x7xi8>
  %w = "quant.scast"(%c) : (tensor<20x3x7x7xi8>) -> tensor<20x3x7x7x!quant.uniform<i8:f32:0, {0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}>>
  %y = "gradcam.conv2d"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>, stride = [2, 2], padding = [3, 3], dilation = [1, 1], groups = 1 : i64} : (tensor<1x3x16x16x!quant.uniform<i8:f32, 0.5>>, tensor<20x3x7x7x!quant.uniform<i8:f32:0, {0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}>>) -> tensor<1x20x8x8x!quant.uniform<i8:f32, 0.25>> loc("conv1")
  return %y : tensor<1x20x8x8x!quant.uniform<i8:f32, 0.25>>
}

// A kernel of one pixel has nothing to unfold.
// CHECK-LABEL: func.func @pointwise
// CHECK-NOT: unfold2d
// CHECK: tensor<4x3x1x1x!quant.uniform
func.func @pointwise(%x: tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>> {
  %c = arith.constant dense<3> : tensor<4x3x1x1xi8>
  %w = "quant.scast"(%c) : (tensor<4x3x1x1xi8>) -> tensor<4x3x1x1x!quant.uniform<i8:f32:0, {0.1, 0.2, 0.3, 0.4}>>
  %y = "gradcam.conv2d"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0>, stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64} : (tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>, tensor<4x3x1x1x!quant.uniform<i8:f32:0, {0.1, 0.2, 0.3, 0.4}>>) -> tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>>
  return %y : tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>>
}

// Nothing but the image is laid out while it arrives.
// CHECK-LABEL: func.func @inner
// CHECK-NOT: unfold2d
func.func @inner(%x: tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>> {
  %c = arith.constant dense<3> : tensor<4x3x3x3xi8>
  %w = "quant.scast"(%c) : (tensor<4x3x3x3xi8>) -> tensor<4x3x3x3x!quant.uniform<i8:f32:0, {0.1, 0.2, 0.3, 0.4}>>
  %r = "gradcam.relu"(%x) : (tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>) -> tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>
  %y = "gradcam.conv2d"(%r, %w) {operandSegmentSizes = array<i32: 1, 1, 0>, stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64} : (tensor<1x3x8x8x!quant.uniform<i8:f32, 0.5>>, tensor<4x3x3x3x!quant.uniform<i8:f32:0, {0.1, 0.2, 0.3, 0.4}>>) -> tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>>
  return %y : tensor<1x4x8x8x!quant.uniform<i8:f32, 0.25>>
}

// CHECK: loc("conv1.unfold")
