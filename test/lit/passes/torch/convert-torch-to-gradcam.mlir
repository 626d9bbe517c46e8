// RUN: gradcam-opt %s --convert-torch-to-gradcam --split-input-file --verify-diagnostics | filecheck %s

// Weights, what nobody reads, and the explanation of the marked layer.

// CHECK-LABEL: func.func @main(%arg0: tensor<1x3x8x8xf32>, %arg1: tensor<1xi32>) -> (tensor<1x4xf32>, tensor<1x8x8xf32>)
// CHECK: [[W:%.+]] = arith.constant dense<2.500000e-01> : tensor<4x3x3x3xf32>
// CHECK-NEXT: [[CONV:%.+]] = "gradcam.conv2d"(%arg0, [[W]]) {dilation = [1, 1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0>, padding = [1, 1], stride = [1, 1]}
// CHECK-NEXT: [[RELU:%.+]] = "gradcam.relu"([[CONV]])
// CHECK-NEXT: [[A:%.+]] = "gradcam.target"([[RELU]]) {path = "body"}
// CHECK-NEXT: [[SUM:%.+]] = "gradcam.add"([[A]], [[A]])
// CHECK-NEXT: [[POOL:%.+]] = "gradcam.avg_pool2d"([[SUM]]) {count_include_pad = true, dilation = [1, 1], kernel = [8, 8], padding = [0, 0], stride = [8, 8]}
// CHECK-NEXT: [[LOGITS:%.+]] = "gradcam.flatten"([[POOL]])
// CHECK-NEXT: [[MAP:%.+]] = "gradcam.explain"([[LOGITS]], [[A]], %arg1) {eps = 9.9999999999999995E-8 : f64, method = "gradcam", normalize = true, relu = true}
// CHECK-NEXT: return [[LOGITS]], [[MAP]]
// CHECK-NOT: torch
func.func @main(%x: !torch.vtensor<[1,3,8,8],f32>) -> !torch.vtensor<[1,4],f32> {
  %none = torch.constant.none
  %true = torch.constant.bool true
  %false = torch.constant.bool false
  %one = torch.constant.int 1
  %two = torch.constant.int 2
  %three = torch.constant.int 3
  %path = torch.constant.str "body"
  %ones = torch.prim.ListConstruct %one, %one : (!torch.int, !torch.int) -> !torch.list<int>
  %axes = torch.prim.ListConstruct %two, %three : (!torch.int, !torch.int) -> !torch.list<int>
  %unused = torch.vtensor.literal(dense<1> : tensor<si64>) : !torch.vtensor<[],si64>
  %w = torch.vtensor.literal(dense<0.25> : tensor<4x3x3x3xf32>) : !torch.vtensor<[4,3,3,3],f32>
  %c = torch.aten.conv2d %x, %w, %none, %ones, %ones, %ones, %one : !torch.vtensor<[1,3,8,8],f32>, !torch.vtensor<[4,3,3,3],f32>, !torch.none, !torch.list<int>, !torch.list<int>, !torch.list<int>, !torch.int -> !torch.vtensor<[1,4,8,8],f32>
  %r = torch.aten.relu %c : !torch.vtensor<[1,4,8,8],f32> -> !torch.vtensor<[1,4,8,8],f32>
  %t = torch.operator "torch.gradcam.target"(%r, %path) : (!torch.vtensor<[1,4,8,8],f32>, !torch.str) -> !torch.vtensor<[1,4,8,8],f32>
  %s = torch.aten.add.Tensor %t, %t, %one : !torch.vtensor<[1,4,8,8],f32>, !torch.vtensor<[1,4,8,8],f32>, !torch.int -> !torch.vtensor<[1,4,8,8],f32>
  %m = torch.aten.mean.dim %s, %axes, %false, %none : !torch.vtensor<[1,4,8,8],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,4],f32>
  return %m : !torch.vtensor<[1,4],f32>
}

// -----

// Two layers are marked: a map for each, in program order, of one class.

// CHECK-LABEL: func.func @main(%arg0: tensor<1x4x2x2xf32>, %arg1: tensor<1xi32>) -> (tensor<1x4xf32>, tensor<1x2x2xf32>, tensor<1x2x2xf32>)
// CHECK: [[X:%.+]] = "gradcam.target"(%arg0) {path = "first"}
// CHECK: [[Y:%.+]] = "gradcam.target"({{%.+}}) {path = "second"}
// CHECK: [[L:%.+]] = "gradcam.flatten"
// CHECK-NEXT: [[C:%.+]] = "gradcam.select_class"([[L]], %arg1)
// CHECK-NEXT: [[M0:%.+]] = "gradcam.explain"([[L]], [[X]], [[C]])
// CHECK-NEXT: [[M1:%.+]] = "gradcam.explain"([[L]], [[Y]], [[C]])
// CHECK-NEXT: return [[L]], [[M0]], [[M1]]
func.func @main(%x: !torch.vtensor<[1,4,2,2],f32>) -> !torch.vtensor<[1,4],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %two = torch.constant.int 2
  %three = torch.constant.int 3
  %first = torch.constant.str "first"
  %second = torch.constant.str "second"
  %axes = torch.prim.ListConstruct %two, %three : (!torch.int, !torch.int) -> !torch.list<int>
  %a = torch.operator "torch.gradcam.target"(%x, %first) : (!torch.vtensor<[1,4,2,2],f32>, !torch.str) -> !torch.vtensor<[1,4,2,2],f32>
  %r = torch.aten.relu %a : !torch.vtensor<[1,4,2,2],f32> -> !torch.vtensor<[1,4,2,2],f32>
  %b = torch.operator "torch.gradcam.target"(%r, %second) : (!torch.vtensor<[1,4,2,2],f32>, !torch.str) -> !torch.vtensor<[1,4,2,2],f32>
  %m = torch.aten.mean.dim %b, %axes, %false, %none : !torch.vtensor<[1,4,2,2],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,4],f32>
  return %m : !torch.vtensor<[1,4],f32>
}

// -----

func.func @main(%x: !torch.vtensor<[1,4,2,2],f32>) -> !torch.vtensor<[1,4],f32> {
  // expected-error@-1 {{each of ['body', 'body'] must be marked as a target layer once, found ['body', 'body']}}
  %none = torch.constant.none
  %false = torch.constant.bool false
  %two = torch.constant.int 2
  %three = torch.constant.int 3
  %path = torch.constant.str "body"
  %axes = torch.prim.ListConstruct %two, %three : (!torch.int, !torch.int) -> !torch.list<int>
  %a = torch.operator "torch.gradcam.target"(%x, %path) : (!torch.vtensor<[1,4,2,2],f32>, !torch.str) -> !torch.vtensor<[1,4,2,2],f32>
  %b = torch.operator "torch.gradcam.target"(%a, %path) : (!torch.vtensor<[1,4,2,2],f32>, !torch.str) -> !torch.vtensor<[1,4,2,2],f32>
  %m = torch.aten.mean.dim %b, %axes, %false, %none : !torch.vtensor<[1,4,2,2],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,4],f32>
  return %m : !torch.vtensor<[1,4],f32>
}

// -----

// Everything that is wrong is reported, and nothing that follows from it.

func.func @main(%x: !torch.vtensor<[1,3,8,8],f32>) -> !torch.vtensor<[1,3],f32> {
  %none = torch.constant.none
  %false = torch.constant.bool false
  %two = torch.constant.int 2
  %three = torch.constant.int 3
  %axes = torch.prim.ListConstruct %two, %three : (!torch.int, !torch.int) -> !torch.list<int>
  // expected-error@+1 {{aten.exp is not supported}}
  %a = torch.aten.exp %x : !torch.vtensor<[1,3,8,8],f32> -> !torch.vtensor<[1,3,8,8],f32>
  // expected-error@+1 {{aten.div.Tensor divides by a tensor computed from the image, which is not supported}}
  %s = torch.aten.div.Tensor %a, %x : !torch.vtensor<[1,3,8,8],f32>, !torch.vtensor<[1,3,8,8],f32> -> !torch.vtensor<[1,3,8,8],f32>
  // expected-error@+1 {{aten.relu_ writes in place}}
  %r = torch.operator "torch.aten.relu_"(%s) : (!torch.vtensor<[1,3,8,8],f32>) -> !torch.vtensor<[1,3,8,8],f32>
  %m = torch.aten.mean.dim %r, %axes, %false, %none : !torch.vtensor<[1,3,8,8],f32>, !torch.list<int>, !torch.bool, !torch.none -> !torch.vtensor<[1,3],f32>
  return %m : !torch.vtensor<[1,3],f32>
}

// -----

func.func @main(%x: !torch.vtensor<[1,3],f32>, %y: !torch.vtensor<[1,3],f64>) -> !torch.vtensor<[1,3],f32> {
  %path = torch.constant.str "body"
  // expected-error@-2 {{the model takes 2 inputs; it must take one image}}
  // expected-error@+1 {{the logits do not depend on the target layer}}
  %t = torch.operator "torch.gradcam.target"(%y, %path) : (!torch.vtensor<[1,3],f64>, !torch.str) -> !torch.vtensor<[1,3],f64>
  return %x : !torch.vtensor<[1,3],f32>
}
