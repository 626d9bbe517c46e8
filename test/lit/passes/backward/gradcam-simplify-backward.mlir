// RUN: %gradcam_opt %s --gradcam-simplify-backward --split-input-file | FileCheck %s

// Global average pool and linear head: one row of the classifier's own weight, one weighted sum, one scale.
// CHECK-LABEL: func.func @global_pool
// CHECK: %[[W:.*]] = arith.constant
// CHECK-NOT: arith.constant
// CHECK: %[[LOGITS:.*]] = "gradcam.linear"(%{{.*}}, %[[W]])
// CHECK-NEXT: %[[CLS:.*]] = "gradcam.select_class"(%[[LOGITS]], %arg1)
// CHECK-NEXT: %[[ROW:.*]] = "gradcam.class_row"(%[[W]], %[[CLS]]) : (tensor<3x2xf32>, tensor<1xi32>) -> tensor<1x2xf32>
// CHECK-NEXT: %[[SUM:.*]] = "gradcam.weighted_sum"(%[[ROW]], %arg0)
// CHECK-NEXT: %[[MAP:.*]] = "gradcam.scale"(%[[SUM]]) {factor = 6.250000e-02 : f64}
// CHECK-NEXT: return %[[LOGITS]], %[[MAP]]
func.func @global_pool(%x: tensor<1x2x4x4xf32>, %class: tensor<1xi32>) -> (tensor<1x3xf32>, tensor<1x4x4xf32>) {
  %w = arith.constant dense<0.5> : tensor<3x2xf32>
  %p = "gradcam.avg_pool2d"(%x) {kernel = [4, 4], stride = [4, 4], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x4x4xf32>) -> tensor<1x2x1x1xf32>
  %f = "gradcam.flatten"(%p) : (tensor<1x2x1x1xf32>) -> tensor<1x2xf32>
  %logits = "gradcam.linear"(%f, %w) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2xf32>, tensor<3x2xf32>) -> tensor<1x3xf32>
  %cls = "gradcam.select_class"(%logits, %class) : (tensor<1x3xf32>, tensor<1xi32>) -> tensor<1xi32>
  %seed = "gradcam.one_hot"(%cls) : (tensor<1xi32>) -> tensor<1x3xf32>
  %gf = "gradcam.linear_adjoint"(%seed, %w) : (tensor<1x3xf32>, tensor<3x2xf32>) -> tensor<1x2xf32>
  %gp = "gradcam.unflatten"(%gf) : (tensor<1x2xf32>) -> tensor<1x2x1x1xf32>
  %gx = "gradcam.avg_pool2d_adjoint"(%gp) {kernel = [4, 4], stride = [4, 4], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  %weights = "gradcam.channel_weights"(%gx) : (tensor<1x2x4x4xf32>) -> tensor<1x2xf32>
  %map = "gradcam.weighted_sum"(%weights, %x) : (tensor<1x2xf32>, tensor<1x2x4x4xf32>) -> tensor<1x4x4xf32>
  return %logits, %map : tensor<1x3xf32>, tensor<1x4x4xf32>
}

// -----

// HiResCAM behind a global pool: the gradient is the same at every position.
// CHECK-LABEL: func.func @hirescam
// CHECK-NEXT: %[[FLAT:.*]] = "gradcam.flatten"(%arg0)
// CHECK-NEXT: %[[SUM:.*]] = "gradcam.weighted_sum"(%[[FLAT]], %arg1)
// CHECK-NEXT: "gradcam.scale"(%[[SUM]]) {factor = 6.250000e-02 : f64}
func.func @hirescam(%g: tensor<1x2x1x1xf32>, %x: tensor<1x2x4x4xf32>) -> tensor<1x4x4xf32> {
  %gx = "gradcam.avg_pool2d_adjoint"(%g) {kernel = [4, 4], stride = [4, 4], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  %map = "gradcam.weighted_sum"(%gx, %x) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x4x4xf32>
  return %map : tensor<1x4x4xf32>
}

// -----

// Padding that counts swallows part of the gradient: the mean does not move through the pool.
// CHECK-LABEL: func.func @counted_padding
// CHECK: gradcam.avg_pool2d_adjoint
// CHECK: gradcam.channel_weights
func.func @counted_padding(%g: tensor<1x2x4x4xf32>) -> tensor<1x2xf32> {
  %gx = "gradcam.avg_pool2d_adjoint"(%g) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x4x4xf32>) -> tensor<1x2x7x7xf32>
  %weights = "gradcam.channel_weights"(%gx) : (tensor<1x2x7x7xf32>) -> tensor<1x2xf32>
  return %weights : tensor<1x2xf32>
}

// -----

// The mean of a transposed convolution at any stride: sums per tap, then one product with the layer's own weight.
// CHECK-LABEL: func.func @tap_sums
// CHECK-NEXT: %[[SUMS:.*]] = "gradcam.tap_sums"(%arg0) {dilation = [1, 1], kernel = [3, 3], padding = [1, 1], size = [6, 5], stride = [2, 2]} : (tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
// CHECK-NEXT: %[[POINT:.*]] = "gradcam.conv2d_adjoint"(%[[SUMS]], %arg1) {dilation = [1, 1], groups = 1 : i64, padding = [2, 2], stride = [1, 1]} : (tensor<1x4x3x3xf32>, tensor<4x8x3x3xf32>) -> tensor<1x8x1x1xf32>
// CHECK-NEXT: %[[FLAT:.*]] = "gradcam.flatten"(%[[POINT]]) : (tensor<1x8x1x1xf32>) -> tensor<1x8xf32>
// CHECK-NEXT: "gradcam.scale"(%[[FLAT]]) {factor = 0.033333333333333333 : f64}
func.func @tap_sums(%g: tensor<1x4x3x3xf32>, %w: tensor<4x8x3x3xf32>) -> tensor<1x8xf32> {
  %gx = "gradcam.conv2d_adjoint"(%g, %w) {stride = [2, 2], padding = [1, 1], dilation = [1, 1], groups = 1 : i64} : (tensor<1x4x3x3xf32>, tensor<4x8x3x3xf32>) -> tensor<1x8x6x5xf32>
  %weights = "gradcam.channel_weights"(%gx) : (tensor<1x8x6x5xf32>) -> tensor<1x8xf32>
  return %weights : tensor<1x8xf32>
}

// -----

// A gradient that is needed whole for something else is not collapsed.
// CHECK-LABEL: func.func @goes_on
// CHECK-NEXT: %[[GX:.*]] = "gradcam.conv2d_adjoint"
// CHECK-NEXT: "gradcam.channel_weights"(%[[GX]])
func.func @goes_on(%g: tensor<1x4x6x5xf32>, %w: tensor<4x8x3x3xf32>) -> (tensor<1x8xf32>, tensor<1x8x6x5xf32>) {
  %gx = "gradcam.conv2d_adjoint"(%g, %w) {stride = [1, 1], padding = [1, 1], dilation = [1, 1], groups = 1 : i64} : (tensor<1x4x6x5xf32>, tensor<4x8x3x3xf32>) -> tensor<1x8x6x5xf32>
  %weights = "gradcam.channel_weights"(%gx) : (tensor<1x8x6x5xf32>) -> tensor<1x8xf32>
  return %weights, %gx : tensor<1x8xf32>, tensor<1x8x6x5xf32>
}

// -----

// A max pool hands on every gradient: its input is not needed for the mean.
// CHECK-LABEL: func.func @max_pool
// CHECK-NEXT: %[[MEAN:.*]] = "gradcam.channel_weights"(%arg0)
// CHECK-NEXT: "gradcam.scale"(%[[MEAN]]) {factor = 2.500000e-01 : f64}
func.func @max_pool(%g: tensor<1x2x4x4xf32>, %x: tensor<1x2x8x8xf32>) -> tensor<1x2xf32> {
  %gx = "gradcam.max_pool2d_adjoint"(%g, %x) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x2x4x4xf32>, tensor<1x2x8x8xf32>) -> tensor<1x2x8x8xf32>
  %weights = "gradcam.channel_weights"(%gx) : (tensor<1x2x8x8xf32>) -> tensor<1x2xf32>
  return %weights : tensor<1x2xf32>
}

// -----

// A batch norm's factors are the same at all positions.
// CHECK-LABEL: func.func @batch_norm
// CHECK-NEXT: %[[MEAN:.*]] = "gradcam.channel_weights"(%arg0)
// CHECK-NEXT: %[[POINT:.*]] = "gradcam.unflatten"(%[[MEAN]])
// CHECK-NEXT: %[[NORM:.*]] = "gradcam.batch_norm_adjoint"(%[[POINT]], %arg1, %arg2)
// CHECK-NEXT: "gradcam.flatten"(%[[NORM]])
func.func @batch_norm(%g: tensor<1x2x4x4xf32>, %gamma: tensor<2xf32>, %var: tensor<2xf32>) -> tensor<1x2xf32> {
  %gx = "gradcam.batch_norm_adjoint"(%g, %gamma, %var) {eps = 1.0e-5 : f64} : (tensor<1x2x4x4xf32>, tensor<2xf32>, tensor<2xf32>) -> tensor<1x2x4x4xf32>
  %weights = "gradcam.channel_weights"(%gx) : (tensor<1x2x4x4xf32>) -> tensor<1x2xf32>
  return %weights : tensor<1x2xf32>
}

// -----

// Behind a global pool the sums of XGrad-CAM cancel, and LayerCAM takes the positive part of one vector.
// CHECK-LABEL: func.func @constant_gradient
// CHECK: %[[A:.*]] = "gradcam.relu"(%arg1)
// CHECK-DAG: "gradcam.flatten"(%arg0)
// CHECK-DAG: "gradcam.relu"(%arg0)
// CHECK-NOT: avg_pool2d_adjoint
// CHECK-NOT: xgradcam_weights
func.func @constant_gradient(%g: tensor<1x2x1x1xf32>, %x: tensor<1x2x4x4xf32>) -> (tensor<1x2xf32>, tensor<1x4x4xf32>) {
  %a = "gradcam.relu"(%x) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %gx = "gradcam.avg_pool2d_adjoint"(%g) {kernel = [4, 4], stride = [4, 4], padding = [0, 0], dilation = [1, 1], count_include_pad = true} : (tensor<1x2x1x1xf32>) -> tensor<1x2x4x4xf32>
  %weights = "gradcam.xgradcam_weights"(%gx, %a) {eps = 1.0e-7 : f64} : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2xf32>
  %positive = "gradcam.relu"(%gx) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %map = "gradcam.weighted_sum"(%positive, %a) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x4x4xf32>
  return %weights, %map : tensor<1x2xf32>, tensor<1x4x4xf32>
}

// -----

// Products with a map that has no negative element are positive where the gradient is; equal ops are computed once.
// CHECK-LABEL: func.func @elementwise
// CHECK: %[[A:.*]] = "gradcam.relu"(%arg1)
// CHECK-NEXT: %[[G:.*]] = "gradcam.relu"(%arg0)
// CHECK-NEXT: %[[MAP:.*]] = "gradcam.weighted_sum"(%[[G]], %[[A]])
// CHECK-NEXT: return %[[MAP]], %[[MAP]]
func.func @elementwise(%g: tensor<1x2x4x4xf32>, %x: tensor<1x2x4x4xf32>) -> (tensor<1x4x4xf32>, tensor<1x4x4xf32>) {
  %a = "gradcam.relu"(%x) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %products = "gradcam.mul"(%g, %a) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %positive = "gradcam.relu"(%products) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %map = "gradcam.channel_sum"(%positive) : (tensor<1x2x4x4xf32>) -> tensor<1x4x4xf32>
  %weights = "gradcam.relu"(%g) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %layercam = "gradcam.weighted_sum"(%weights, %a) : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x4x4xf32>
  return %map, %layercam : tensor<1x4x4xf32>, tensor<1x4x4xf32>
}

// -----

// Without data between the row and the mean there is one table of means for all classes.
// CHECK-LABEL: func.func @table
// CHECK-NEXT: %[[TABLE:.*]] = arith.constant dense<{{\[\[}}1.500000e+00, 3.500000e+00], [5.500000e+00, 7.500000e+00]]> : tensor<2x2xf32>
// CHECK-NEXT: "gradcam.class_row"(%[[TABLE]], %arg0)
// CHECK-NEXT: return
func.func @table(%cls: tensor<1xi32>) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %row = "gradcam.class_row"(%w, %cls) : (tensor<2x4xf32>, tensor<1xi32>) -> tensor<1x4xf32>
  %g = "gradcam.unflatten"(%row) : (tensor<1x4xf32>) -> tensor<1x2x1x2xf32>
  %weights = "gradcam.channel_weights"(%g) : (tensor<1x2x1x2xf32>) -> tensor<1x2xf32>
  return %weights : tensor<1x2xf32>
}

// -----

// Scales move out of linear maps and merge; ops that no one reads disappear.
// CHECK-LABEL: func.func @scales
// CHECK-NEXT: %[[G:.*]] = "gradcam.activation_adjoint"(%arg0, %arg1)
// CHECK-NEXT: %[[W:.*]] = "gradcam.channel_weights"(%[[G]])
// CHECK-NEXT: "gradcam.scale"(%[[W]]) {factor = 2.000000e+00 : f64}
// CHECK-NEXT: return
func.func @scales(%g: tensor<1x2x4x4xf32>, %y: tensor<1x2x4x4xf32>) -> tensor<1x2xf32> {
  %dead = "gradcam.relu"(%y) : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %a = "gradcam.scale"(%g) {factor = 0.5 : f64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %b = "gradcam.activation_adjoint"(%a, %y) {closed = false, lo = 0.0 : f64, hi = 0x7FF0000000000000 : f64, slope = 0.0 : f64} : (tensor<1x2x4x4xf32>, tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %c = "gradcam.scale"(%b) {factor = 4.0 : f64} : (tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %weights = "gradcam.channel_weights"(%c) : (tensor<1x2x4x4xf32>) -> tensor<1x2xf32>
  return %weights : tensor<1x2xf32>
}
