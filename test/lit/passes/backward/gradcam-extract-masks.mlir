// RUN: gradcam-opt %s --gradcam-extract-masks | FileCheck %s

// A relu's mask is read from its input and shared by all who need it; a clamp's lies between its bounds.
// CHECK-LABEL: func.func @masks
// CHECK-SAME: (%[[X:.*]]: tensor<1x2x1x1xf32>, %[[G:.*]]: tensor<1x2x1x1xf32>)
// CHECK-NEXT: %[[Y:.*]] = "gradcam.relu"(%[[X]])
// CHECK-NEXT: %[[M:.*]] = "gradcam.mask"(%[[X]]) {closed = false, hi = 0x7FF0000000000000 : f64, lo = 0.000000e+00 : f64}
// CHECK-SAME: -> tensor<1x2x1x1xi1>
// CHECK-NEXT: %[[Z:.*]] = "gradcam.clamp"(%[[Y]])
// CHECK-NEXT: %[[N:.*]] = "gradcam.mask"(%[[Y]]) {closed = true, hi = 6.000000e+00 : f64, lo = -1.000000e+00 : f64}
// CHECK-NEXT: %[[A:.*]] = "gradcam.apply_mask"(%[[G]], %[[M]]) {slope = 0.000000e+00 : f64}
// CHECK-NEXT: %[[B:.*]] = "gradcam.apply_mask"(%[[A]], %[[M]]) {slope = 0.000000e+00 : f64}
// CHECK-NEXT: %[[C:.*]] = "gradcam.apply_mask"(%[[B]], %[[N]]) {slope = 0.000000e+00 : f64}
// CHECK-NEXT: return %[[C]]
func.func @masks(%x: tensor<1x2x1x1xf32>, %g: tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32> {
  %y = "gradcam.relu"(%x) : (tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  %z = "gradcam.clamp"(%y) {lo = -1.0 : f64, hi = 6.0 : f64} : (tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  %a = "gradcam.activation_adjoint"(%g, %y) {closed = false, lo = 0.0 : f64, hi = 0x7FF0000000000000 : f64, slope = 0.0 : f64} : (tensor<1x2x1x1xf32>, tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  %b = "gradcam.activation_adjoint"(%a, %y) {closed = false, lo = 0.0 : f64, hi = 0x7FF0000000000000 : f64, slope = 0.0 : f64} : (tensor<1x2x1x1xf32>, tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  %c = "gradcam.activation_adjoint"(%b, %y) {closed = true, lo = -1.0 : f64, hi = 6.0 : f64, slope = 0.0 : f64}
      : (tensor<1x2x1x1xf32>, tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  return %c : tensor<1x2x1x1xf32>
}

// The index of a pool is made beside it and shared; another window has another index.
// CHECK-LABEL: func.func @indices
// CHECK-SAME: (%[[X:.*]]: tensor<1x2x6x6xf32>, %[[G:.*]]: tensor<1x2x3x3xf32>)
// CHECK-NEXT: %[[I2:.*]] = "gradcam.max_pool2d_index"(%[[X]]) {{.*}}kernel = [2, 2]{{.*}} : (tensor<1x2x6x6xf32>) -> tensor<1x2x3x3xi8>
// CHECK-NEXT: %[[Y:.*]] = "gradcam.max_pool2d"(%[[X]])
// CHECK-NEXT: %[[I3:.*]] = "gradcam.max_pool2d_index"(%[[X]]) {{.*}}kernel = [3, 3]
// CHECK-NEXT: %[[A:.*]] = "gradcam.max_unpool2d"(%[[G]], %[[I3]]) {{.*}}kernel = [3, 3]{{.*}} -> tensor<1x2x6x6xf32>
// CHECK-NEXT: %[[B:.*]] = "gradcam.max_unpool2d"(%[[Y]], %[[I3]])
// CHECK-NEXT: %[[C:.*]] = "gradcam.max_unpool2d"(%[[G]], %[[I2]])
// CHECK-NEXT: return %[[A]], %[[B]], %[[C]]
func.func @indices(%x: tensor<1x2x6x6xf32>, %g: tensor<1x2x3x3xf32>) -> (tensor<1x2x6x6xf32>, tensor<1x2x6x6xf32>, tensor<1x2x6x6xf32>) {
  %y = "gradcam.max_pool2d"(%x) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x2x6x6xf32>) -> tensor<1x2x3x3xf32>
  %a = "gradcam.max_pool2d_adjoint"(%g, %x) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x2x3x3xf32>, tensor<1x2x6x6xf32>) -> tensor<1x2x6x6xf32>
  %b = "gradcam.max_pool2d_adjoint"(%y, %x) {kernel = [3, 3], stride = [2, 2], padding = [1, 1], dilation = [1, 1]} : (tensor<1x2x3x3xf32>, tensor<1x2x6x6xf32>) -> tensor<1x2x6x6xf32>
  %c = "gradcam.max_pool2d_adjoint"(%g, %x) {kernel = [2, 2], stride = [2, 2], padding = [0, 0], dilation = [1, 1]} : (tensor<1x2x3x3xf32>, tensor<1x2x6x6xf32>) -> tensor<1x2x6x6xf32>
  return %a, %b, %c : tensor<1x2x6x6xf32>, tensor<1x2x6x6xf32>, tensor<1x2x6x6xf32>
}
