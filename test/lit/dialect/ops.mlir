// RUN: %gradcam_opt %s | %gradcam_opt | FileCheck %s
// RUN: %gradcam_opt %s --emit-bytecode | %gradcam_opt | FileCheck %s

// Every op, through text and through bytecode.

// CHECK: "gradcam.conv2d"({{.*}} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>, tensor<8xf32>) -> tensor<1x8x6x6xf32>
func.func @conv2d(%0: tensor<1x4x6x6xf32>, %1: tensor<8x4x3x3xf32>, %2: tensor<8xf32>) -> tensor<1x8x6x6xf32> {
  %r = "gradcam.conv2d"(%0, %1, %2) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x4x6x6xf32>, tensor<8x4x3x3xf32>, tensor<8xf32>) -> tensor<1x8x6x6xf32>
  return %r : tensor<1x8x6x6xf32>
}

// CHECK: "gradcam.conv2d"({{.*}} : (tensor<1x4x6x6xf32>, tensor<8x2x3x3xf32>) -> tensor<1x8x6x6xf32>
func.func @conv2d_2(%0: tensor<1x4x6x6xf32>, %1: tensor<8x2x3x3xf32>) -> tensor<1x8x6x6xf32> {
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 2 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6xf32>, tensor<8x2x3x3xf32>) -> tensor<1x8x6x6xf32>
  return %r : tensor<1x8x6x6xf32>
}

// CHECK: "gradcam.linear"({{.*}} : (tensor<1x8xf32>, tensor<3x8xf32>, tensor<3xf32>) -> tensor<1x3xf32>
func.func @linear(%0: tensor<1x8xf32>, %1: tensor<3x8xf32>, %2: tensor<3xf32>) -> tensor<1x3xf32> {
  %r = "gradcam.linear"(%0, %1, %2) {operandSegmentSizes = array<i32: 1, 1, 1>} : (tensor<1x8xf32>, tensor<3x8xf32>, tensor<3xf32>) -> tensor<1x3xf32>
  return %r : tensor<1x3xf32>
}

// CHECK: "gradcam.relu"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @relu(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.relu"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.hardtanh"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @hardtanh(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.hardtanh"(%0) {lo = 0.0 : f64, hi = 6.0 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.clamp"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @clamp(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.clamp"(%0) {lo = 0.0 : f64, hi = 6.0 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.leaky_relu"({{.*}} {slope = 1.250000e-01 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @leaky_relu(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.leaky_relu"(%0) {slope = 0.125 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.add"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @add(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.add"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.max_pool2d"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
func.func @max_pool2d(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32> {
  %r = "gradcam.max_pool2d"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  return %r : tensor<1x4x3x3xf32>
}

// CHECK: "gradcam.avg_pool2d"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
func.func @avg_pool2d(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32> {
  %r = "gradcam.avg_pool2d"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1], count_include_pad = false} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  return %r : tensor<1x4x3x3xf32>
}

// CHECK: "gradcam.batch_norm"({{.*}} : (tensor<1x4x6x6xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
func.func @batch_norm(%0: tensor<1x4x6x6xf32>, %1: tensor<4xf32>, %2: tensor<4xf32>, %3: tensor<4xf32>, %4: tensor<4xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.batch_norm"(%0, %1, %2, %3, %4) {eps = 1.0e-5 : f64} : (tensor<1x4x6x6xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.flatten"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x144xf32>
func.func @flatten(%0: tensor<1x4x6x6xf32>) -> tensor<1x144xf32> {
  %r = "gradcam.flatten"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x144xf32>
  return %r : tensor<1x144xf32>
}

// CHECK: "gradcam.concat"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x2x6x6xf32>) -> tensor<1x6x6x6xf32>
func.func @concat(%0: tensor<1x4x6x6xf32>, %1: tensor<1x2x6x6xf32>) -> tensor<1x6x6x6xf32> {
  %r = "gradcam.concat"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x2x6x6xf32>) -> tensor<1x6x6x6xf32>
  return %r : tensor<1x6x6x6xf32>
}

// CHECK: "gradcam.concat"({{.*}} : (tensor<1x4xf32>, tensor<1x2xf32>) -> tensor<1x6xf32>
func.func @concat_vectors(%0: tensor<1x4xf32>, %1: tensor<1x2xf32>) -> tensor<1x6xf32> {
  %r = "gradcam.concat"(%0, %1) : (tensor<1x4xf32>, tensor<1x2xf32>) -> tensor<1x6xf32>
  return %r : tensor<1x6xf32>
}

// CHECK: "gradcam.linear_adjoint"({{.*}} : (tensor<1x3xf32>, tensor<3x8xf32>) -> tensor<1x8xf32>
func.func @linear_adjoint(%0: tensor<1x3xf32>, %1: tensor<3x8xf32>) -> tensor<1x8xf32> {
  %r = "gradcam.linear_adjoint"(%0, %1) : (tensor<1x3xf32>, tensor<3x8xf32>) -> tensor<1x8xf32>
  return %r : tensor<1x8xf32>
}

// CHECK: "gradcam.conv2d_adjoint"({{.*}} : (tensor<1x8x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x4x6x6xf32>
func.func @conv2d_adjoint(%0: tensor<1x8x6x6xf32>, %1: tensor<8x4x3x3xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.conv2d_adjoint"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64} : (tensor<1x8x6x6xf32>, tensor<8x4x3x3xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.activation_adjoint"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @activation_adjoint(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.activation_adjoint"(%0, %1) {closed = false, lo = 0.0 : f64, hi = 6.0 : f64, slope = 0.0 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.max_pool2d_index"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xi8>
func.func @max_pool2d_index(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xi8> {
  %r = "gradcam.max_pool2d_index"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xi8>
  return %r : tensor<1x4x3x3xi8>
}

// CHECK: "gradcam.max_unpool2d"({{.*}} : (tensor<1x4x3x3xf32>, tensor<1x4x3x3xi8>) -> tensor<1x4x6x6xf32>
func.func @max_unpool2d(%0: tensor<1x4x3x3xf32>, %1: tensor<1x4x3x3xi8>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.max_unpool2d"(%0, %1) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x3x3xf32>, tensor<1x4x3x3xi8>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.max_pool2d_adjoint"({{.*}} : (tensor<1x4x3x3xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @max_pool2d_adjoint(%0: tensor<1x4x3x3xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.max_pool2d_adjoint"(%0, %1) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x4x3x3xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.avg_pool2d_adjoint"({{.*}} : (tensor<1x4x3x3xf32>) -> tensor<1x4x6x6xf32>
func.func @avg_pool2d_adjoint(%0: tensor<1x4x3x3xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.avg_pool2d_adjoint"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1], count_include_pad = true} : (tensor<1x4x3x3xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.batch_norm_adjoint"({{.*}} : (tensor<1x4x6x6xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
func.func @batch_norm_adjoint(%0: tensor<1x4x6x6xf32>, %1: tensor<4xf32>, %2: tensor<4xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.batch_norm_adjoint"(%0, %1, %2) {eps = 1.0e-5 : f64} : (tensor<1x4x6x6xf32>, tensor<4xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.unflatten"({{.*}} : (tensor<1x144xf32>) -> tensor<1x4x6x6xf32>
func.func @unflatten(%0: tensor<1x144xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.unflatten"(%0) : (tensor<1x144xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.take_channels"({{.*}} {order = [3, -1]} : (tensor<1x4x6x6xf32>) -> tensor<1x2x6x6xf32>
func.func @take_channels(%0: tensor<1x4x6x6xf32>) -> tensor<1x2x6x6xf32> {
  %r = "gradcam.take_channels"(%0) {order = [3, -1]} : (tensor<1x4x6x6xf32>) -> tensor<1x2x6x6xf32>
  return %r : tensor<1x2x6x6xf32>
}

// CHECK: "gradcam.target"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @target(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.target"(%0) {path = "layer4"} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.explain"({{.*}} : (tensor<1x3xf32>, tensor<1x4x6x6xf32>, tensor<1xi32>) -> tensor<1x6x6xf32>
func.func @explain(%0: tensor<1x3xf32>, %1: tensor<1x4x6x6xf32>, %2: tensor<1xi32>) -> tensor<1x6x6xf32> {
  %r = "gradcam.explain"(%0, %1, %2) {method = "gradcam", relu = true, normalize = false, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x4x6x6xf32>, tensor<1xi32>) -> tensor<1x6x6xf32>
  return %r : tensor<1x6x6xf32>
}

// CHECK: "gradcam.select_class"({{.*}} : (tensor<1x3xf32>, tensor<1xi32>) -> tensor<1xi32>
func.func @select_class(%0: tensor<1x3xf32>, %1: tensor<1xi32>) -> tensor<1xi32> {
  %r = "gradcam.select_class"(%0, %1) : (tensor<1x3xf32>, tensor<1xi32>) -> tensor<1xi32>
  return %r : tensor<1xi32>
}

// CHECK: "gradcam.next_class"({{.*}} : (tensor<1x3xf32>, tensor<1xi32>, tensor<1xi32>) -> tensor<1xi32>
func.func @next_class(%0: tensor<1x3xf32>, %1: tensor<1xi32>, %2: tensor<1xi32>) -> tensor<1xi32> {
  %r = "gradcam.next_class"(%0, %1, %2) : (tensor<1x3xf32>, tensor<1xi32>, tensor<1xi32>) -> tensor<1xi32>
  return %r : tensor<1xi32>
}

// CHECK: "gradcam.one_hot"({{.*}} : (tensor<1xi32>) -> tensor<1x3xf32>
func.func @one_hot(%0: tensor<1xi32>) -> tensor<1x3xf32> {
  %r = "gradcam.one_hot"(%0) : (tensor<1xi32>) -> tensor<1x3xf32>
  return %r : tensor<1x3xf32>
}

// CHECK: "gradcam.class_row"({{.*}} : (tensor<3x8xf32>, tensor<1xi32>) -> tensor<1x8xf32>
func.func @class_row(%0: tensor<3x8xf32>, %1: tensor<1xi32>) -> tensor<1x8xf32> {
  %r = "gradcam.class_row"(%0, %1) : (tensor<3x8xf32>, tensor<1xi32>) -> tensor<1x8xf32>
  return %r : tensor<1x8xf32>
}

// CHECK: "gradcam.channel_weights"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
func.func @channel_weights(%0: tensor<1x4x6x6xf32>) -> tensor<1x4xf32> {
  %r = "gradcam.channel_weights"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
  return %r : tensor<1x4xf32>
}

// CHECK: "gradcam.weighted_sum"({{.*}} : (tensor<1x4xf32>, tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32>
func.func @weighted_sum(%0: tensor<1x4xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32> {
  %r = "gradcam.weighted_sum"(%0, %1) : (tensor<1x4xf32>, tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32>
  return %r : tensor<1x6x6xf32>
}

// CHECK: "gradcam.weighted_sum"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32>
func.func @weighted_sum_2(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32> {
  %r = "gradcam.weighted_sum"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32>
  return %r : tensor<1x6x6xf32>
}

// CHECK: "gradcam.pool_map"({{.*}}) {size = 2 : i64} : (tensor<1x7x6xf32>) -> tensor<1x3x3xf32>
func.func @pool_map(%0: tensor<1x7x6xf32>) -> tensor<1x3x3xf32> {
  %r = "gradcam.pool_map"(%0) {size = 2 : i64} : (tensor<1x7x6xf32>) -> tensor<1x3x3xf32>
  return %r : tensor<1x3x3xf32>
}

// CHECK: "gradcam.scale"({{.*}} : (tensor<1x6x6xf32>) -> tensor<1x6x6xf32>
func.func @scale(%0: tensor<1x6x6xf32>) -> tensor<1x6x6xf32> {
  %r = "gradcam.scale"(%0) {factor = 0.5 : f64} : (tensor<1x6x6xf32>) -> tensor<1x6x6xf32>
  return %r : tensor<1x6x6xf32>
}

// The same ops on quantized tensors.

// CHECK: "gradcam.conv2d"({{.*}} : (tensor<1x4x6x6x!quant.uniform<i8:f32, 5.000000e-01>>, tensor<2x4x3x3x!quant.uniform<i8:f32:0, {{[{]}}2.500000e-01,1.250000e-01{{[}]}}>>) -> tensor<1x2x6x6x!quant.uniform<i32:f32, 5.000000e-01>>
func.func @quantized_conv2d(%0: tensor<1x4x6x6x!quant.uniform<i8:f32, 5.000000e-01>>, %1: tensor<2x4x3x3x!quant.uniform<i8:f32:0, {2.500000e-01,1.250000e-01}>>) -> tensor<1x2x6x6x!quant.uniform<i32:f32, 5.000000e-01>> {
  %r = "gradcam.conv2d"(%0, %1) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4x6x6x!quant.uniform<i8:f32, 5.000000e-01>>, tensor<2x4x3x3x!quant.uniform<i8:f32:0, {2.500000e-01,1.250000e-01}>>) -> tensor<1x2x6x6x!quant.uniform<i32:f32, 5.000000e-01>>
  return %r : tensor<1x2x6x6x!quant.uniform<i32:f32, 5.000000e-01>>
}

// CHECK: "gradcam.add"({{.*}} : (tensor<1x2x6x6x!quant.uniform<i32:f32, 5.000000e-01>>, tensor<1x2x6x6x!quant.uniform<i8:f32, 2.500000e-01>>) -> tensor<1x2x6x6x!quant.uniform<i8:f32, 5.000000e-01>>
func.func @quantized_add(%0: tensor<1x2x6x6x!quant.uniform<i32:f32, 5.000000e-01>>, %1: tensor<1x2x6x6x!quant.uniform<i8:f32, 2.500000e-01>>) -> tensor<1x2x6x6x!quant.uniform<i8:f32, 5.000000e-01>> {
  %r = "gradcam.add"(%0, %1) : (tensor<1x2x6x6x!quant.uniform<i32:f32, 5.000000e-01>>, tensor<1x2x6x6x!quant.uniform<i8:f32, 2.500000e-01>>) -> tensor<1x2x6x6x!quant.uniform<i8:f32, 5.000000e-01>>
  return %r : tensor<1x2x6x6x!quant.uniform<i8:f32, 5.000000e-01>>
}

// CHECK: "gradcam.scale"({{.*}} : (tensor<1x6x6x!quant.uniform<i32:f32, 5.000000e-01>>) -> tensor<1x6x6x!quant.uniform<i32:f32, 2.500000e-01>>
func.func @quantized_scale(%0: tensor<1x6x6x!quant.uniform<i32:f32, 5.000000e-01>>) -> tensor<1x6x6x!quant.uniform<i32:f32, 2.500000e-01>> {
  %r = "gradcam.scale"(%0) {factor = 0.5 : f64} : (tensor<1x6x6x!quant.uniform<i32:f32, 5.000000e-01>>) -> tensor<1x6x6x!quant.uniform<i32:f32, 2.500000e-01>>
  return %r : tensor<1x6x6x!quant.uniform<i32:f32, 2.500000e-01>>
}

// CHECK: "gradcam.xgradcam_weights"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
func.func @xgradcam_weights(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x4xf32> {
  %r = "gradcam.xgradcam_weights"(%0, %1) {eps = 1.0e-7 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
  return %r : tensor<1x4xf32>
}

// CHECK: "gradcam.gradcam_plus_plus_weights"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
func.func @gradcam_plus_plus_weights(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x4xf32> {
  %r = "gradcam.gradcam_plus_plus_weights"(%0, %1) {eps = 1.0e-6 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
  return %r : tensor<1x4xf32>
}

// CHECK: "gradcam.mul"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @mul(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.mul"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.channel_sum"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32>
func.func @channel_sum(%0: tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32> {
  %r = "gradcam.channel_sum"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x6x6xf32>
  return %r : tensor<1x6x6xf32>
}

// CHECK: "gradcam.tap_sums"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
func.func @tap_sums(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32> {
  %r = "gradcam.tap_sums"(%0) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1], size = [12, 11]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x3xf32>
  return %r : tensor<1x4x3x3xf32>
}

// CHECK: "gradcam.mask"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xi1>
func.func @mask(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xi1> {
  %r = "gradcam.mask"(%0) {closed = false, lo = 0.0 : f64, hi = 0x7FF0000000000000 : f64} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xi1>
  return %r : tensor<1x4x6x6xi1>
}

// CHECK: "gradcam.apply_mask"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xi1>) -> tensor<1x4x6x6xf32>
func.func @apply_mask(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xi1>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.apply_mask"(%0, %1) {slope = 0.0 : f64} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xi1>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.requantize"({{.*}} : (tensor<1x2x!quant.uniform<i32:f32, 5.000000e-01>>) -> tensor<1x2x!quant.uniform<i8:f32:1, {1.000000e+00,2.000000e+00}>>
func.func @requantize(%0: tensor<1x2x!quant.uniform<i32:f32, 0.5>>) -> tensor<1x2x!quant.uniform<i8:f32:1, {1.0, 2.0}>> {
  %r = "gradcam.requantize"(%0) : (tensor<1x2x!quant.uniform<i32:f32, 0.5>>) -> tensor<1x2x!quant.uniform<i8:f32:1, {1.0, 2.0}>>
  return %r : tensor<1x2x!quant.uniform<i8:f32:1, {1.0, 2.0}>>
}

// CHECK: "gradcam.unfold2d"({{.*}} : (tensor<1x3x6x6xf32>) -> tensor<1x16x6x5xf32>
func.func @unfold2d(%0: tensor<1x3x6x6xf32>) -> tensor<1x16x6x5xf32> {
  %r = "gradcam.unfold2d"(%0) {kernel = [1, 4], stride = [1, 2], low = [0, 3], high = [0, 4], dilation = [1, 1]} : (tensor<1x3x6x6xf32>) -> tensor<1x16x6x5xf32>
  return %r : tensor<1x16x6x5xf32>
}

// CHECK: "gradcam.fold2d"({{.*}} {kernel = [2, 1]} : (tensor<1x8x3x6xf32>) -> tensor<1x3x6x6xf32>
func.func @fold2d(%0: tensor<1x8x3x6xf32>) -> tensor<1x3x6x6xf32> {
  %r = "gradcam.fold2d"(%0) {kernel = [2, 1]} : (tensor<1x8x3x6xf32>) -> tensor<1x3x6x6xf32>
  return %r : tensor<1x3x6x6xf32>
}

// CHECK: "gradcam.prelu"({{.*}} : (tensor<1x4x6x6xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
func.func @prelu(%0: tensor<1x4x6x6xf32>, %1: tensor<4xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.prelu"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.prelu_slope"({{.*}} : (tensor<1x4x6x6xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
func.func @prelu_slope(%0: tensor<1x4x6x6xf32>, %1: tensor<4xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.prelu_slope"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<4xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.hard_sigmoid"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @hard_sigmoid(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.hard_sigmoid"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.hard_swish"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @hard_swish(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.hard_swish"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.hard_swish_slope"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @hard_swish_slope(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.hard_swish_slope"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.function"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @function(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.function"(%0) {function = "silu"} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.function_slope"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
func.func @function_slope(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.function_slope"(%0) {function = "gelu_tanh"} : (tensor<1x4x6x6xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.mul"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x1x1xf32>) -> tensor<1x4x6x6xf32>
func.func @mul_2(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x1x1xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.mul"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x1x1xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.mul"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4xf32>) -> tensor<1x4x6x6xf32>
func.func @mul_3(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.mul"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.mul"({{.*}} : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
func.func @mul_4(%0: tensor<1x4xf32>, %1: tensor<1x4xf32>) -> tensor<1x4xf32> {
  %r = "gradcam.mul"(%0, %1) : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x4xf32>
  return %r : tensor<1x4xf32>
}

// CHECK: "gradcam.product_sums"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x1x1xf32>
func.func @product_sums(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x4x1x1xf32> {
  %r = "gradcam.product_sums"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4x1x1xf32>
  return %r : tensor<1x4x1x1xf32>
}

// CHECK: "gradcam.product_sums"({{.*}} : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
func.func @product_sums_2(%0: tensor<1x4x6x6xf32>, %1: tensor<1x4x6x6xf32>) -> tensor<1x4xf32> {
  %r = "gradcam.product_sums"(%0, %1) : (tensor<1x4x6x6xf32>, tensor<1x4x6x6xf32>) -> tensor<1x4xf32>
  return %r : tensor<1x4xf32>
}

// CHECK: "gradcam.upsample2d"({{.*}} : (tensor<1x4x3x2xf32>) -> tensor<1x4x6x6xf32>
func.func @upsample2d(%0: tensor<1x4x3x2xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.upsample2d"(%0) {kernel = [2, 3]} : (tensor<1x4x3x2xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}

// CHECK: "gradcam.upsample2d_adjoint"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x2xf32>
func.func @upsample2d_adjoint(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x3x2xf32> {
  %r = "gradcam.upsample2d_adjoint"(%0) {kernel = [2, 3]} : (tensor<1x4x6x6xf32>) -> tensor<1x4x3x2xf32>
  return %r : tensor<1x4x3x2xf32>
}

// CHECK: "gradcam.adaptive_avg_pool2d"({{.*}} : (tensor<1x4x6x6xf32>) -> tensor<1x4x4x7xf32>
func.func @adaptive_avg_pool2d(%0: tensor<1x4x6x6xf32>) -> tensor<1x4x4x7xf32> {
  %r = "gradcam.adaptive_avg_pool2d"(%0) : (tensor<1x4x6x6xf32>) -> tensor<1x4x4x7xf32>
  return %r : tensor<1x4x4x7xf32>
}

// CHECK: "gradcam.adaptive_avg_pool2d_adjoint"({{.*}} : (tensor<1x4x4x7xf32>) -> tensor<1x4x6x6xf32>
func.func @adaptive_avg_pool2d_adjoint(%0: tensor<1x4x4x7xf32>) -> tensor<1x4x6x6xf32> {
  %r = "gradcam.adaptive_avg_pool2d_adjoint"(%0) : (tensor<1x4x4x7xf32>) -> tensor<1x4x6x6xf32>
  return %r : tensor<1x4x6x6xf32>
}
