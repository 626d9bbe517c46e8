// Ranges that were chosen for feature maps of some bits are for no others; in a pipeline both passes have the option.
// RUN: %python -c "import numpy as np; np.save('%t.npy', np.random.default_rng(0).standard_normal((2, 1, 1, 2), np.float32))"
// RUN: gradcam-opt %s --pass-pipeline='builtin.module(gradcam-calibrate{images=%t.npy activation-bits=9},gradcam-quantize{activation-bits=9})' | FileCheck %s
// RUN: gradcam-opt %s --pass-pipeline='builtin.module(gradcam-calibrate{images=%t.npy range=max},gradcam-quantize{activation-bits=9})' | FileCheck %s
// RUN: not gradcam-opt %s --pass-pipeline='builtin.module(gradcam-calibrate{images=%t.npy},gradcam-quantize{activation-bits=9})' 2>&1 | FileCheck %s --check-prefix=OTHER
// RUN: not gradcam-opt %s --gradcam-quantize='weight-bits=13' 2>&1 | FileCheck %s --check-prefix=WEIGHTS

// CHECK-NOT: gradcam.range
// CHECK: "gradcam.relu"({{.*}}!quant.uniform<u9:f32
// CHECK-NOT: gradcam.range

// OTHER: range-bits.mlir:[[# @LINE + 5]]:{{.*}} error: ranges were chosen for feature maps of 8 bits, not 9;
// OTHER-SAME: give activation-bits=8, or 9 to gradcam-calibrate [pass 'gradcam-quantize']{{$}}

// WEIGHTS: error: pass 'gradcam-quantize': option 'weight-bits' must be from 8 to 12, got 13{{$}}

func.func @main(%image: tensor<1x1x1x2xf32>) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[[[1.0]]], [[[-2.0]]]]> : tensor<2x1x1x1xf32>
  %fc = arith.constant dense<[[1.0, 1.0, 2.0, 3.0], [2.0, -3.0, 1.0, 1.0]]> : tensor<2x4xf32>
  %0 = "gradcam.conv2d"(%image, %w) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1,
      operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<1x1x1x2xf32>, tensor<2x1x1x1xf32>) -> tensor<1x2x1x2xf32>
  %1 = "gradcam.relu"(%0) : (tensor<1x2x1x2xf32>) -> tensor<1x2x1x2xf32>
  %2 = "gradcam.flatten"(%1) : (tensor<1x2x1x2xf32>) -> tensor<1x4xf32>
  %3 = "gradcam.linear"(%2, %fc) {operandSegmentSizes = array<i32: 1, 1, 0>}
      : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %3 : tensor<1x2xf32>
}
