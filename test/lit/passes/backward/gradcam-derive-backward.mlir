// RUN: %gradcam_opt %s --gradcam-derive-backward --split-input-file --verify-diagnostics | FileCheck %s

// The map is the weighted sum; target and explain are gone, their attributes stay on the function.
// CHECK-LABEL: func.func @gradcam
// CHECK-SAME: gradcam.explain = {eps = 9.9999999999999995E-8 : f64, method = "gradcam", normalize = true, rank = 0 : i64, relu = true, target = "features"}
// CHECK: %[[W:.*]] = arith.constant
// CHECK-NOT: gradcam.target
// CHECK: %[[FLAT:.*]] = "gradcam.flatten"(%arg0)
// CHECK: %[[LOGITS:.*]] = "gradcam.linear"(%[[FLAT]], %[[W]])
// CHECK-NEXT: %[[CLS:.*]] = "gradcam.select_class"(%[[LOGITS]], %arg1) : (tensor<1x3xf32>, tensor<1xi32>) -> tensor<1xi32>
// CHECK-NEXT: %[[SEED:.*]] = "gradcam.one_hot"(%[[CLS]]) : (tensor<1xi32>) -> tensor<1x3xf32>
// CHECK-NEXT: %[[GF:.*]] = "gradcam.linear_adjoint"(%[[SEED]], %[[W]])
// CHECK-NEXT: %[[GX:.*]] = "gradcam.unflatten"(%[[GF]]) : (tensor<1x8xf32>) -> tensor<1x2x2x2xf32>
// CHECK-NEXT: %[[WEIGHTS:.*]] = "gradcam.channel_weights"(%[[GX]]) : (tensor<1x2x2x2xf32>) -> tensor<1x2xf32>
// CHECK-NEXT: %[[MAP:.*]] = "gradcam.weighted_sum"(%[[WEIGHTS]], %arg0)
// CHECK-NEXT: return %[[LOGITS]], %[[MAP]]
func.func @gradcam(%x: tensor<1x2x2x2xf32>, %class: tensor<1xi32>) -> (tensor<1x3xf32>, tensor<1x2x2xf32>) {
  %w = arith.constant dense<0.5> : tensor<3x8xf32>
  %a = "gradcam.target"(%x) {path = "features"} : (tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  %f = "gradcam.flatten"(%a) : (tensor<1x2x2x2xf32>) -> tensor<1x8xf32>
  %logits = "gradcam.linear"(%f, %w) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x8xf32>, tensor<3x8xf32>) -> tensor<1x3xf32>
  %map = "gradcam.explain"(%logits, %a, %class) {method = "gradcam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x2x2x2xf32>, tensor<1xi32>) -> tensor<1x2x2xf32>
  return %logits, %map : tensor<1x3xf32>, tensor<1x2x2xf32>
}

// -----

// HiResCAM multiplies the gradient itself. A feature map with two readers has the sum of their gradients; the mask comes
// from the forward output; the convolution before the target has no adjoint.
// CHECK-LABEL: func.func @hirescam
// CHECK: %[[X:.*]] = "gradcam.conv2d"
// CHECK: %[[Y:.*]] = "gradcam.relu"(%[[X]])
// CHECK: %[[GZ:.*]] = "gradcam.unflatten"
// CHECK-NEXT: %[[GR:.*]] = "gradcam.activation_adjoint"(%[[GZ]], %[[Y]]) {closed = false, hi = 0x7FF0000000000000 : f64, lo = 0.000000e+00 : f64, slope = 0.000000e+00 : f64}
// CHECK-NEXT: %[[G:.*]] = "gradcam.add"(%[[GZ]], %[[GR]])
// CHECK-NEXT: "gradcam.weighted_sum"(%[[G]], %[[X]]) : (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x2x2xf32>
// CHECK-NOT: gradcam.conv2d_adjoint
func.func @hirescam(%image: tensor<1x1x2x2xf32>, %class: tensor<1xi32>) -> (tensor<1x3xf32>, tensor<1x2x2xf32>) {
  %k = arith.constant dense<0.5> : tensor<1x1x1x1xf32>
  %w = arith.constant dense<0.5> : tensor<3x4xf32>
  %x = "gradcam.conv2d"(%image, %k) {stride = [1, 1], padding = [0, 0], dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x1x2x2xf32>, tensor<1x1x1x1xf32>) -> tensor<1x1x2x2xf32>
  %a = "gradcam.target"(%x) {path = "stem"} : (tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>
  %y = "gradcam.relu"(%a) : (tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>
  %z = "gradcam.add"(%a, %y) : (tensor<1x1x2x2xf32>, tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>
  %f = "gradcam.flatten"(%z) : (tensor<1x1x2x2xf32>) -> tensor<1x4xf32>
  %logits = "gradcam.linear"(%f, %w) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x4xf32>, tensor<3x4xf32>) -> tensor<1x3xf32>
  %map = "gradcam.explain"(%logits, %a, %class) {method = "hirescam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x1x2x2xf32>, tensor<1xi32>) -> tensor<1x2x2xf32>
  return %logits, %map : tensor<1x3xf32>, tensor<1x2x2xf32>
}

// -----

func.func @unreached(%x: tensor<1x2x2x2xf32>, %logits: tensor<1x3xf32>, %class: tensor<1xi32>) -> tensor<1x2x2xf32> {
  %a = "gradcam.target"(%x) {path = "layer9"} : (tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  // expected-error@+1 {{target "layer9" does not reach the logits: no class score depends on it}}
  %map = "gradcam.explain"(%logits, %a, %class) {method = "gradcam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x2x2x2xf32>, tensor<1xi32>) -> tensor<1x2x2xf32>
  return %map : tensor<1x2x2xf32>
}

// -----

// Two targets share one walk back; the function keeps what each map explains.
// CHECK-LABEL: func.func @shared
// CHECK-SAME: gradcam.explain = [{{{.*}}target = "deep"}, {{{.*}}target = "shallow"}]
// CHECK: %[[Y:.*]] = "gradcam.relu"(%arg0)
// CHECK: %[[LOGITS:.*]] = "gradcam.flatten"
// CHECK-NEXT: "gradcam.select_class"
// CHECK-NEXT: "gradcam.one_hot"
// CHECK-NEXT: %[[GY:.*]] = "gradcam.unflatten"
// CHECK-NEXT: %[[GX:.*]] = "gradcam.activation_adjoint"(%[[GY]], %[[Y]])
// CHECK-NEXT: %[[DEEP:.*]] = "gradcam.weighted_sum"(%[[GY]], %[[Y]])
// CHECK-NEXT: %[[SHALLOW:.*]] = "gradcam.weighted_sum"(%[[GX]], %arg0)
// CHECK-NEXT: return %[[LOGITS]], %[[DEEP]], %[[SHALLOW]]
func.func @shared(%x: tensor<1x3x1x1xf32>, %class: tensor<1xi32>) -> (tensor<1x3xf32>, tensor<1x1x1xf32>, tensor<1x1x1xf32>) {
  %a = "gradcam.target"(%x) {path = "shallow"} : (tensor<1x3x1x1xf32>) -> tensor<1x3x1x1xf32>
  %y = "gradcam.relu"(%a) : (tensor<1x3x1x1xf32>) -> tensor<1x3x1x1xf32>
  %b = "gradcam.target"(%y) {path = "deep"} : (tensor<1x3x1x1xf32>) -> tensor<1x3x1x1xf32>
  %logits = "gradcam.flatten"(%b) : (tensor<1x3x1x1xf32>) -> tensor<1x3xf32>
  %map0 = "gradcam.explain"(%logits, %b, %class) {method = "hirescam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x3x1x1xf32>, tensor<1xi32>) -> tensor<1x1x1xf32>
  %map1 = "gradcam.explain"(%logits, %a, %class) {method = "hirescam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x3x1x1xf32>, tensor<1xi32>) -> tensor<1x1x1xf32>
  return %logits, %map0, %map1 : tensor<1x3xf32>, tensor<1x1x1xf32>, tensor<1x1x1xf32>
}

// -----

// The other methods: the same gradient, other weights.
// CHECK-LABEL: func.func @methods
// CHECK: %[[G:.*]] = "gradcam.unflatten"
// CHECK-NEXT: %[[XW:.*]] = "gradcam.xgradcam_weights"(%[[G]], %arg0) {eps = 9.9999999999999995E-8 : f64}
// CHECK-NEXT: "gradcam.weighted_sum"(%[[XW]], %arg0) : (tensor<1x3xf32>, tensor<1x3x1x1xf32>)
// CHECK-NEXT: %[[LW:.*]] = "gradcam.relu"(%[[G]])
// CHECK-NEXT: "gradcam.weighted_sum"(%[[LW]], %arg0) : (tensor<1x3x1x1xf32>, tensor<1x3x1x1xf32>)
// CHECK-NEXT: %[[PRODUCTS:.*]] = "gradcam.mul"(%[[G]], %arg0)
// CHECK-NEXT: %[[POSITIVE:.*]] = "gradcam.relu"(%[[PRODUCTS]])
// CHECK-NEXT: "gradcam.channel_sum"(%[[POSITIVE]])
// CHECK-NEXT: %[[PW:.*]] = "gradcam.gradcam_plus_plus_weights"(%[[G]], %arg0) {eps = 9.9999999999999995E-8 : f64}
// CHECK-NEXT: "gradcam.weighted_sum"(%[[PW]], %arg0) : (tensor<1x3xf32>, tensor<1x3x1x1xf32>)
func.func @methods(%x: tensor<1x3x1x1xf32>, %class: tensor<1xi32>) -> (tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xf32>) {
  %a = "gradcam.target"(%x) {path = "features"} : (tensor<1x3x1x1xf32>) -> tensor<1x3x1x1xf32>
  %logits = "gradcam.flatten"(%a) : (tensor<1x3x1x1xf32>) -> tensor<1x3xf32>
  %map0 = "gradcam.explain"(%logits, %a, %class) {method = "xgradcam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x3x1x1xf32>, tensor<1xi32>) -> tensor<1x1x1xf32>
  %map1 = "gradcam.explain"(%logits, %a, %class) {method = "layercam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x3x1x1xf32>, tensor<1xi32>) -> tensor<1x1x1xf32>
  %map2 = "gradcam.explain"(%logits, %a, %class) {method = "gradcam-elementwise", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x3x1x1xf32>, tensor<1xi32>) -> tensor<1x1x1xf32>
  %map3 = "gradcam.explain"(%logits, %a, %class) {method = "gradcam++", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x3x1x1xf32>, tensor<1xi32>) -> tensor<1x1x1xf32>
  return %map0, %map1, %map2, %map3 : tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xf32>, tensor<1x1x1xf32>
}

// -----

func.func @unnamed(%x: tensor<1x2x2x2xf32>, %logits: tensor<1x3xf32>, %class: tensor<1xi32>) -> tensor<1x2x2xf32> {
  // expected-error@+1 {{operand 'target' must come from gradcam.target}}
  %map = "gradcam.explain"(%logits, %x, %class) {method = "gradcam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x3xf32>, tensor<1x2x2x2xf32>, tensor<1xi32>) -> tensor<1x2x2xf32>
  return %map : tensor<1x2x2xf32>
}

// -----

func.func @foreign(%x: tensor<1x2x2x2xf32>, %class: tensor<1xi32>) -> (tensor<1x8xf32>, tensor<1x2x2xf32>) {
  %a = "gradcam.target"(%x) {path = "layer4"} : (tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  // expected-error@+1 {{'math.exp' lies between the target and the logits and has no adjoint rule}}
  %e = math.exp %a : tensor<1x2x2x2xf32>
  %logits = "gradcam.flatten"(%e) : (tensor<1x2x2x2xf32>) -> tensor<1x8xf32>
  %map = "gradcam.explain"(%logits, %a, %class) {method = "gradcam", relu = true, normalize = true, eps = 1.0e-7 : f64} : (tensor<1x8xf32>, tensor<1x2x2x2xf32>, tensor<1xi32>) -> tensor<1x2x2xf32>
  return %logits, %map : tensor<1x8xf32>, tensor<1x2x2xf32>
}
